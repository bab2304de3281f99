//! Predicted against measured latency of whole networks, for three methods of prediction.

use agent_protocol::stats::Interval;

use super::figures::{drawable, first_widths};
use super::{AskedPoint, PredictedPoint, PredictionReport};
use crate::charts::{Chart, Drawing};
use crate::format;
use crate::svg::{Canvas, Frame, Point, Scale, Window, plain};

/// A method of prediction. Methods differ in shape as well as in colour.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Macs,
    Kernels,
    Predictor,
}

impl Method {
    /// In drawing order, with the predictor in front.
    pub(super) const ALL: [Self; 3] = [Self::Macs, Self::Kernels, Self::Predictor];

    fn class(self) -> &'static str {
        match self {
            Self::Macs => "dot ring c1",
            Self::Kernels => "mark hollow c2",
            Self::Predictor => "dot c0",
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Macs => "MACs",
            Self::Kernels => "sum of kernels",
            Self::Predictor => "predictor",
        }
    }

    /// The prediction for a network.
    pub(super) fn of(self, point: &PredictedPoint) -> Option<f64> {
        let value = match self {
            Self::Macs => Some(point.macs),
            Self::Kernels => Some(point.kernels),
            Self::Predictor => point.predicted,
        };
        value.filter(|&value| drawable(value))
    }

    pub(super) fn mark(self, svg: &mut Canvas, center: Point, tip: &str) {
        match self {
            Self::Macs => svg.dot(self.class(), center, 3.4, tip),
            Self::Kernels => svg.diamond(self.class(), center, 4.6, tip),
            Self::Predictor => svg.dot(self.class(), center, 4.2, tip),
        }
    }
}

/// The networks with a measured latency.
pub(super) fn measured(data: &PredictionReport) -> Vec<&PredictedPoint> {
    let usable = |point: &&PredictedPoint| drawable(point.measured) && point.measured > 0.0;
    data.points.iter().filter(usable).collect()
}

/// The hover text of a network.
pub(super) fn tip(method: Method, point: &PredictedPoint) -> String {
    let measured = format::ratio(point.measured);
    let mut lines = vec![method.name().to_owned(), format!("measured {measured}")];
    for method in Method::ALL.into_iter().rev() {
        let name = method.name();
        lines.push(match method.of(point) {
            None => format!("by {name}: too few others"),
            Some(value) => {
                let off = format::change(value / point.measured);
                format!("by {name} {} ({off})", format::ratio(value))
            }
        });
    }
    lines.push(format!("widths {}", first_widths(&point.widths)));
    lines.join("\n")
}

/// `None` without a measured network and without a requested configuration.
pub(super) fn points(data: &PredictionReport) -> Option<Chart<'_>> {
    let known = measured(data);
    let asked = data.asked.as_ref().filter(|a| drawable(a.predicted));
    if known.is_empty() && asked.is_none() {
        return None;
    }
    let mut legend: Vec<(String, String)> = Vec::new();
    for method in Method::ALL.into_iter().rev() {
        if known.iter().any(|point| method.of(point).is_some()) {
            legend.push((method.class().into(), method.name().into()));
        }
    }
    if asked.is_some() {
        legend.push(("mark asked".into(), "requested".into()));
    }
    legend.push(("line equal".into(), "equal".into()));
    let remark = match asked.map(|a| measurement(a).is_some()) {
        Some(true) => {
            " The bars of the requested network are the intervals of its prediction and of its measurement."
        }
        Some(false) => {
            " The requested network was not measured: it is drawn on the diagonal, with its prediction interval."
        }
        None => "",
    };
    Some(Chart {
        id: "points",
        title: "Predicted against measured latency".into(),
        description: format!(
            "{} whole networks, relative to the unpruned one; each was predicted from the others.{remark}",
            known.len()
        ),
        legend,
        draw: Box::new(move |window| draw(&known, asked, window)),
    })
}

/// The measurement of the requested configuration, if it can be drawn.
fn measurement(asked: &AskedPoint) -> Option<Interval> {
    let can_be_drawn = |of: &Interval| [of.value, of.low, of.high].into_iter().all(drawable);
    asked.measured.filter(can_be_drawn)
}

/// The prediction interval of the requested configuration, if it can be drawn.
pub(super) fn prediction_interval(asked: &AskedPoint) -> Option<(f64, f64)> {
    let (low, high) = asked.low.zip(asked.high)?;
    (drawable(low) && drawable(high)).then_some((low, high))
}

/// All values of the chart, for one scale on both axes.
fn values(known: &[&PredictedPoint], asked: Option<&AskedPoint>) -> Vec<f64> {
    let mut values: Vec<f64> = known.iter().map(|point| point.measured).collect();
    for method in Method::ALL {
        values.extend(known.iter().filter_map(|point| method.of(point)));
    }
    if let Some(asked) = asked {
        values.push(asked.predicted);
        let measured = measurement(asked).map(|of| (of.low, of.high));
        let intervals = [prediction_interval(asked), measured];
        values.extend(intervals.into_iter().flatten().flat_map(|(l, h)| [l, h]));
    }
    values
}

fn draw(known: &[&PredictedPoint], asked: Option<&AskedPoint>, window: Window) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 340.0),
        ..Frame::new(window)
    };
    let mut svg = Canvas::default();
    let ends = Scale::covering(values(known, asked).into_iter(), 0.05).unwrap_or((0.0, 1.0));
    let (x, y) = (frame.x(ends), frame.y(ends));
    let x_title = "predicted latency, relative to the unpruned";
    let y_title = "measured latency, relative to the unpruned";
    frame.axes(
        &mut svg,
        (&x, x_title, &plain),
        (&y, y_title, &plain),
        window,
    );
    let point = |predicted: f64, measured: f64| (x.map(predicted), y.map(measured));
    let (low, high) = x.ends();
    svg.segment("line equal", point(low, low), point(high, high));
    for method in Method::ALL {
        for network in known {
            if let Some(value) = method.of(network) {
                let center = point(value, network.measured);
                method.mark(&mut svg, center, &tip(method, network));
            }
        }
    }
    if let Some(asked) = asked {
        draw_asked(&mut svg, &frame, asked, point);
    }
    Drawing::framed(&frame, svg)
}

fn draw_asked(
    svg: &mut Canvas,
    frame: &Frame,
    asked: &AskedPoint,
    point: impl Fn(f64, f64) -> Point,
) {
    let measured = measurement(asked);
    let median = measured.map_or(asked.predicted, |of| of.value);
    if let Some((low, high)) = prediction_interval(asked) {
        svg.segment("reach", point(low, median), point(high, median));
    }
    if let Some(Interval { low, high, .. }) = measured {
        let predicted = asked.predicted;
        svg.segment("reach", point(predicted, low), point(predicted, high));
    }
    let center = point(asked.predicted, median);
    svg.diamond("mark asked", center, 6.0, &asked_tip(asked));
    let (class, side) = if frame.is_right_half(center.0) {
        ("label end", -12.0)
    } else {
        ("label", 12.0)
    };
    let height = (center.1 + 20.0).min(frame.bottom_edge() - 4.0);
    svg.text(class, (center.0 + side, height), "requested");
}

fn asked_tip(asked: &AskedPoint) -> String {
    let predicted = format::ratio(asked.predicted);
    let mut lines = vec!["requested".to_owned(), format!("predicted {predicted}")];
    if let Some((low, high)) = prediction_interval(asked) {
        let ends = format::range(low, high, format::ratio);
        lines.push(format!("95 % interval {ends}"));
    }
    lines.push(match measurement(asked) {
        Some(of) => format!("measured {}", format::ratio_with_interval(of)),
        None => "not measured".to_owned(),
    });
    lines.push(format!("widths {}", first_widths(&asked.widths)));
    lines.join("\n")
}
