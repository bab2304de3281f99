//! The section of the layers: kernels in isolation against the network.

use maud::{Markup, html};

use super::figures::signed_micros;
use super::{LayerResidual, PredictionReport, layers};
use crate::format::{self, NONE, micros};
use crate::html::{Figure, Text, cell, figure, or, qualified, row_name, table};

const TITLE: &str = "Layers in isolation and in the network";

pub(super) fn residuals(data: &PredictionReport) -> Markup {
    let none = "Not measured: no layer has a time.";
    html! {
        (figure(layers::layers(data), TITLE, none))
        @if !data.layers.is_empty() {
            div.card.gap { (all(&data.layers, data.other_ns)) }
        }
    }
}

fn all(layers: &[LayerResidual], other_ns: Option<f64>) -> Markup {
    let head = [
        Figure("layer"),
        Text("kernel"),
        Figure("in isolation"),
        Figure("in the network"),
        Figure("difference"),
        Figure("relative"),
    ];
    // The sums come first, so that they are visible without scrolling.
    let rows = html! {
        tr { (sums(layers)) }
        @if let Some(ns) = other_ns {
            tr {
                th scope="row" { "outside the layers" }
                td.l {}
                (cell(None))
                (cell(Some(micros(ns))))
                @for _ in 0..2 { (cell(None)) }
            }
        }
        @for layer in layers { tr { (row(layer)) } }
    };
    table(TITLE, "tall dense", &head, rows)
}

fn row(layer: &LayerResidual) -> Markup {
    let how = layer.estimated.then(|| "by MACs".to_owned());
    html! {
        (row_name(&layer.name))
        td.l { (or(&layer.kernel, NONE)) }
        (qualified(Some(micros(layer.alone_ns)), how))
        (cell(layer.in_network().map(micros)))
        (cell(layer.difference().map(signed_micros)))
        (cell(layer.change().map(format::change)))
    }
}

/// The sums over the layers with both times, so that they are comparable.
fn sums(layers: &[LayerResidual]) -> Markup {
    let both = layers.iter().filter(|layer| layer.difference().is_some());
    let both = both.filter_map(|layer| Some((layer.alone_ns, layer.in_network()?)));
    let both: Vec<(f64, f64)> = both.collect();
    let alone: f64 = both.iter().map(|(alone, _)| alone).sum();
    let within: f64 = both.iter().map(|(_, within)| within).sum();
    let known = |text: String| (!both.is_empty()).then_some(text);
    html! {
        th scope="row" { "together" }
        td.l { (both.len()) " of " (layers.len()) " layers have both" }
        (cell(known(micros(alone))))
        (cell(known(micros(within))))
        (cell(known(signed_micros(within - alone))))
        (cell(known(format::change(within / alone))))
    }
}
