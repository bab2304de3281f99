//! The section of the whole networks: predicted against measured latency.

use maud::{Markup, html};

use super::{PredictedPoint, PredictionReport, errors, figures, points};
use crate::format;
use crate::html::{Figure, Text, cell, figure, table, wrapped};

pub(super) fn whole(data: &PredictionReport) -> Markup {
    let no_points = "Not measured: there is no whole network to compare with.";
    let no_errors = "Not known: too few networks were measured.";
    let (points, errors) = (points::points(data), errors::errors(data));
    html! {
        div.charts {
            (figure(points, "Predicted against measured latency", no_points))
            (figure(errors, "Error by method", no_errors))
        }
        @if !data.points.is_empty() { (networks(&data.points)) }
    }
}

fn networks(points: &[PredictedPoint]) -> Markup {
    let head = [
        Figure("number"),
        Figure("measured"),
        Figure("predicted"),
        Figure("error"),
        Figure("sum of kernels"),
        Figure("MACs"),
        Text("widths"),
    ];
    let rows = html! {
        @for (index, point) in points.iter().enumerate() {
            tr { (row(index + 1, point)) }
        }
    };
    html! {
        details {
            summary { "The measured networks as a table" }
            (table("Measured networks", "tall dense", &head, rows))
        }
    }
}

fn row(number: usize, point: &PredictedPoint) -> Markup {
    let off = point.predicted.map(|p| format::change(p / point.measured));
    html! {
        th scope="row" { (number) }
        (cell(Some(format::ratio(point.measured))))
        (cell(point.predicted.map(format::ratio)))
        (cell(off))
        (cell(Some(format::ratio(point.kernels))))
        (cell(Some(format::ratio(point.macs))))
        (wrapped(&figures::widths(&point.widths)))
    }
}
