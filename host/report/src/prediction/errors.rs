//! The signed error of each way to predict, network by network.

use super::{PredictedPoint, PredictionReport, points, points::Way, words};
use crate::{
    charts::{Chart, Drawing},
    html::Markup,
    svg::{Frame, Scale, Window, at, hundredths, segment, text},
};

/// None unless the predictor and something to compare it with have errors.
pub(super) fn errors(data: &PredictionReport) -> Option<Chart<'_>> {
    let known = points::measured(data);
    if !known.iter().any(|p| Way::Predictor.of(p).is_some()) {
        return None;
    }
    let description = "Each network's predicted latency over its measured one, less one: to the left too fast, to the right too \
                       slow. MACs and kernels are taken as they are, without a line fitted to them.";
    Some(Chart {
        id: "errors",
        title: "Error by way of prediction".into(),
        description: description.into(),
        legend: Vec::new(),
        draw: Box::new(move |window| draw(&known, window)),
    })
}

fn of(way: Way, point: &PredictedPoint) -> Option<f64> {
    Some(way.of(point)? / point.measured - 1.0).filter(|&error| words::drawable(error))
}

fn draw(known: &[&PredictedPoint], window: Window) -> Drawing {
    let frame = Frame {
        left: 14.0,
        height: window.pick(400.0, 340.0),
        ..Frame::new(window)
    };
    let mut svg = Markup::default();
    let all = Way::ALL.into_iter();
    let values = all.flat_map(|way| known.iter().filter_map(move |point| of(way, point)));
    let ends = Scale::covering(values.chain([0.0]), 0.05).unwrap_or((-1.0, 1.0));
    let x = frame.x(ends);
    // The grid parts the rows, which have names instead of numbers.
    let y = frame.y((0.0, Way::ALL.len() as f64));
    let nothing = |_: f64, _: usize| String::new();
    frame.axes(
        &mut svg,
        (&x, "error, %", &hundredths),
        (&y, "", &nothing),
        window,
    );
    let zero = x.place(0.0);
    let bottom = frame.height - frame.bottom;
    segment(&mut svg, "line equal", (zero, frame.top), (zero, bottom));
    let row = (bottom - frame.top) / Way::ALL.len() as f64;
    for (index, way) in Way::ALL.into_iter().rev().enumerate() {
        let top = frame.top + index as f64 * row;
        let found: Vec<(f64, &PredictedPoint)> = known
            .iter()
            .filter_map(|point| Some((of(way, point)?, *point)))
            .collect();
        let mean = found.iter().map(|(error, _)| error.abs()).sum::<f64>() / found.len() as f64;
        let name = format!("{}: {} off on average", way.word(), words::error(mean));
        text(&mut svg, "label", frame.left, at(top + 14.0), &name);
        for (number, (error, point)) in found.iter().enumerate() {
            // Spread over the row, so that equal errors do not hide each other.
            let height = top + row * 0.62 + ((number * 7) % 5) as f64 * 7.0 - 14.0;
            let tip = points::tip(way, point);
            way.mark(&mut svg, (x.place(*error), height), &tip);
        }
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}
