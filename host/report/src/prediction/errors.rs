//! The signed error of each method of prediction, network by network.

use super::figures::{drawable, error};
use super::points::{Method, measured, tip};
use super::{PredictedPoint, PredictionReport};
use crate::charts::{Chart, Drawing};
use crate::svg::{Canvas, Frame, Scale, Window, hundredths};

/// `None` if no network was predicted without itself.
pub(super) fn errors(data: &PredictionReport) -> Option<Chart<'_>> {
    let known = measured(data);
    if !known.iter().any(|p| Method::Predictor.of(p).is_some()) {
        return None;
    }
    Some(Chart {
        id: "errors",
        title: "Error by method".into(),
        description: "The relative error of the prediction for each network: predictions on the left are too fast, on the right too slow. \
                      MACs and the sum of kernels are used without a fit."
            .into(),
        legend: Vec::new(),
        draw: Box::new(move |window| draw(&known, window)),
    })
}

fn error_of(method: Method, point: &PredictedPoint) -> Option<f64> {
    let error = method.of(point)? / point.measured - 1.0;
    drawable(error).then_some(error)
}

fn draw(known: &[&PredictedPoint], window: Window) -> Drawing {
    let frame = Frame {
        left: 14.0,
        height: window.pick(400.0, 340.0),
        ..Frame::new(window)
    };
    let mut svg = Canvas::default();
    let rows = Method::ALL.map(|method| {
        let errors = known.iter();
        let errors = errors.filter_map(|point| Some((error_of(method, point)?, *point)));
        (method, errors.collect::<Vec<_>>())
    });
    let all = rows.iter().flat_map(|(_, errors)| errors);
    let ends = Scale::covering(all.map(|(error, _)| *error).chain([0.0]), 0.05);
    let x = frame.x(ends.unwrap_or((-1.0, 1.0)));
    // The grid separates the rows, which have names instead of numbers.
    let y = frame.y((0.0, rows.len() as f64));
    let no_label = |_: f64, _: usize| String::new();
    frame.axes(
        &mut svg,
        (&x, "error, %", &hundredths),
        (&y, "", &no_label),
        window,
    );
    let (zero, bottom) = (x.map(0.0), frame.bottom_edge());
    svg.segment("line equal", (zero, frame.top), (zero, bottom));
    let height = (bottom - frame.top) / rows.len() as f64;
    for (index, (method, errors)) in rows.iter().rev().enumerate() {
        let top = frame.top + index as f64 * height;
        let sum: f64 = errors.iter().map(|(error, _)| error.abs()).sum();
        let mean = error(sum / errors.len() as f64);
        let name = format!("{}: {mean} off on average", method.name());
        svg.text("label", (frame.left, top + 14.0), &name);
        for (number, (error, point)) in errors.iter().enumerate() {
            // Spread over the row, so that equal errors do not hide each other.
            let center = top + height * 0.62 + ((number * 7) % 5) as f64 * 7.0 - 14.0;
            method.mark(&mut svg, (x.map(*error), center), &tip(*method, point));
        }
    }
    Drawing::framed(&frame, svg)
}
