//! Predicted against measured latency of whole networks, for the three ways to predict.

use agent_protocol::stats::Interval;

use super::{AskedPoint, PredictedPoint, PredictionReport, words};
use crate::{
    charts::{Chart, Drawing},
    format,
    html::Markup,
    svg::{Frame, Scale, Window, diamond, dot, interval, plain, segment, text},
};

/// A way to predict: told apart by shape as well as by colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Macs,
    Kernels,
    Predictor,
}

impl Way {
    /// In the order in which they are drawn, so that the predictor lies on top.
    pub(super) const ALL: [Self; 3] = [Self::Macs, Self::Kernels, Self::Predictor];

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Macs => "dot ring c1",
            Self::Kernels => "mark hollow c2",
            Self::Predictor => "dot c0",
        }
    }

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Macs => "MACs",
            Self::Kernels => "sum of kernels",
            Self::Predictor => "predictor",
        }
    }

    /// What it makes of a network.
    pub(super) fn of(self, point: &PredictedPoint) -> Option<f64> {
        let value = match self {
            Self::Macs => Some(point.macs),
            Self::Kernels => Some(point.kernels),
            Self::Predictor => point.predicted,
        };
        value.filter(|&value| words::drawable(value))
    }

    pub(super) fn mark(self, svg: &mut Markup, at: (f64, f64), tip: &str) {
        match self {
            Self::Macs => dot(svg, self.class(), at, 3.4, tip),
            Self::Kernels => diamond(svg, self.class(), at, 4.6, tip),
            Self::Predictor => dot(svg, self.class(), at, 4.2, tip),
        }
    }
}

/// The networks that have a measured latency.
pub(super) fn measured(data: &PredictionReport) -> Vec<&PredictedPoint> {
    let usable = |point: &&PredictedPoint| words::drawable(point.measured) && point.measured > 0.0;
    data.points.iter().filter(usable).collect()
}

/// What hovering over a network says.
pub(super) fn tip(way: Way, point: &PredictedPoint) -> String {
    let mut lines = vec![
        way.word().to_owned(),
        format!("measured {}", format::ratio(point.measured)),
    ];
    for each in Way::ALL.into_iter().rev() {
        lines.push(match each.of(point) {
            Some(value) => format!(
                "by {} {} ({})",
                each.word(),
                format::ratio(value),
                format::change(value / point.measured)
            ),
            None => format!("by {}: too few others", each.word()),
        });
    }
    lines.push(format!("widths {}", words::few(&point.widths)));
    lines.join("\n")
}

/// None without a measured network and without a configuration that was asked for.
pub(super) fn points(data: &PredictionReport) -> Option<Chart<'_>> {
    let known = measured(data);
    let asked = data.asked.as_ref().filter(|a| words::drawable(a.predicted));
    if known.is_empty() && asked.is_none() {
        return None;
    }
    let mut legend: Vec<(String, String)> = Vec::new();
    for way in Way::ALL.into_iter().rev() {
        if known.iter().any(|point| way.of(point).is_some()) {
            legend.push((way.class().into(), way.word().into()));
        }
    }
    if asked.is_some() {
        legend.push(("mark asked".into(), "asked for".into()));
    }
    legend.push(("line equal".into(), "equal".into()));
    let mut description = format!(
        "{} whole networks, relative to the unpruned one; each was predicted without itself.",
        known.len()
    );
    match asked.map(|a| seen(a).is_some()) {
        Some(true) => description.push_str(
            " The bars of the network asked for are the interval of its prediction and that of its measurement.",
        ),
        Some(false) => description.push_str(
            " The network asked for was not measured: it stands on the line, with the interval of its prediction.",
        ),
        None => {}
    }
    Some(Chart {
        id: "points",
        title: "Predicted against measured latency".into(),
        description,
        legend,
        draw: Box::new(move |window| draw(&known, asked, window)),
    })
}

/// The measurement of the configuration asked for, if it can be drawn.
fn seen(asked: &AskedPoint) -> Option<Interval> {
    asked
        .measured
        .filter(|of| [of.value, of.low, of.high].into_iter().all(words::drawable))
}

/// The interval of its prediction, if it can be drawn.
pub(super) fn reach(asked: &AskedPoint) -> Option<(f64, f64)> {
    let (low, high) = asked.low.zip(asked.high)?;
    (words::drawable(low) && words::drawable(high)).then_some((low, high))
}

fn draw(known: &[&PredictedPoint], asked: Option<&AskedPoint>, window: Window) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 340.0),
        ..Frame::new(window)
    };
    let mut svg = Markup::default();
    let mut values: Vec<f64> = known.iter().map(|point| point.measured).collect();
    for way in Way::ALL {
        values.extend(known.iter().filter_map(|point| way.of(point)));
    }
    if let Some(asked) = asked {
        values.push(asked.predicted);
        values.extend(reach(asked).map_or(vec![], |(l, h)| vec![l, h]));
        values.extend(seen(asked).map_or(vec![], |of| vec![of.low, of.high]));
    }
    // The same ends on both axes, so that the diagonal joins the corners.
    let ends = Scale::covering(values.into_iter(), 0.05).unwrap_or((0.0, 1.0));
    let (x, y) = (frame.x(ends), frame.y(ends));
    let measured = "measured latency, relative to the unpruned";
    frame.axes(
        &mut svg,
        (&x, "predicted latency, relative to the unpruned", &plain),
        (&y, measured, &plain),
        window,
    );
    let place = |predicted: f64, measured: f64| (x.place(predicted), y.place(measured));
    let (low, high) = x.ends();
    segment(&mut svg, "line equal", place(low, low), place(high, high));
    for way in Way::ALL {
        for point in known {
            if let Some(value) = way.of(point) {
                way.mark(&mut svg, place(value, point.measured), &tip(way, point));
            }
        }
    }
    if let Some(asked) = asked {
        let height = seen(asked).map_or(asked.predicted, |of| of.value);
        if let Some((low, high)) = reach(asked) {
            segment(&mut svg, "reach", place(low, height), place(high, height));
        }
        if let Some(Interval { low, high, .. }) = seen(asked) {
            let at = asked.predicted;
            segment(&mut svg, "reach", place(at, low), place(at, high));
        }
        let at = place(asked.predicted, height);
        diamond(&mut svg, "mark asked", at, 6.0, &asked_tip(asked));
        // On the right half its name reads to the left, so that it stays within the frame.
        let right = at.0 > (frame.left + frame.width) * 0.5;
        let (class, side) = if right {
            ("label end", -12.0)
        } else {
            ("label", 12.0)
        };
        let below = crate::svg::at((at.1 + 20.0).min(frame.height - frame.bottom - 4.0));
        text(&mut svg, class, at.0 + side, below, "asked for");
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}

fn asked_tip(asked: &AskedPoint) -> String {
    let mut lines = vec![
        "asked for".to_owned(),
        format!("predicted {}", format::ratio(asked.predicted)),
    ];
    if let Some((low, high)) = reach(asked) {
        lines.push(format!(
            "95 of 100 measurements: {} to {}",
            format::ratio(low),
            format::ratio(high)
        ));
    }
    lines.push(match seen(asked) {
        Some(figure) => format!("measured {}", interval(figure)),
        None => "not measured".to_owned(),
    });
    lines.push(format!("widths {}", words::few(&asked.widths)));
    lines.join("\n")
}
