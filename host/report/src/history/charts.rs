//! The two charts of a series: its latency, and its change against the baseline.

use super::{Figure, Outcome, Run, Series, change, figure};
use crate::charts::{Chart, Drawing};
use crate::format;
use crate::html::Markup;
use crate::svg::{Frame, Scale, Window, diamond, dot, hundredths, plain, polyline, segment};

/// The most runs that are drawn and listed, the newest.
const MOST: usize = 200;

/// The runs that are drawn and listed.
pub(super) fn shown(series: &Series) -> &[Run] {
    &series.runs[series.runs.len().saturating_sub(MOST)..]
}

/// What a chart draws of a run.
type Of = fn(&Run) -> Option<Figure>;

/// Latency over runs; `None` when there is none.
pub(super) fn latency<'a>(series: &'a Series, id: &'a str) -> Option<Chart<'a>> {
    let of: Of = |run| {
        let latency = run.latency_ns?;
        Some(Figure {
            value: latency.value / 1e6,
            interval: latency.interval.map(|(low, high)| (low / 1e6, high / 1e6)),
        })
    };
    let description = format!(
        "The median latency of {} runs and its 95 % interval over processes of the worker.",
        of_runs(series, of).len()
    );
    chart(series, id, "Latency", description, "latency, ms", of)
}

/// The change against the baseline over runs; `None` when nothing was compared.
pub(super) fn changes<'a>(series: &'a Series, id: &'a str) -> Option<Chart<'a>> {
    let of: Of = |run| run.change;
    let description = format!(
        "The change of {} runs against their baseline, its 95 % interval, and the {} that the newest allows.",
        of_runs(series, of).len(),
        threshold(series).map_or_else(|| format::NONE.to_owned(), change),
    );
    let mut chart = chart(
        series,
        id,
        "Change against the baseline",
        description,
        "change, %",
        of,
    )?;
    chart.legend.push(("line budget".into(), "allowed".into()));
    Some(chart)
}

fn threshold(series: &Series) -> Option<f64> {
    series.runs.last().map(|run| run.threshold)
}

fn of_runs(series: &Series, of: Of) -> Vec<(usize, &Run, Figure)> {
    let runs = shown(series).iter().enumerate();
    runs.filter_map(|(index, run)| {
        let figure = of(run)?;
        figure.value.is_finite().then_some((index, run, figure))
    })
    .collect()
}

/// Runs in which the model could not be measured; they stand on the lower edge.
fn lost(series: &Series, of: Of) -> Vec<(usize, &Run)> {
    let runs = shown(series).iter().enumerate();
    runs.filter(|(_, run)| of(run).is_none() && run.outcome == Outcome::Unmeasured)
        .collect()
}

fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fine => "dot c0",
        Outcome::NoBaseline => "dot c3",
        Outcome::Regressed => "mark slower",
        Outcome::Improved => "mark faster",
        Outcome::Undecided | Outcome::Uncompared => "dot unsure",
        Outcome::Unmeasured => "dot over",
    }
}

fn chart<'a>(
    series: &'a Series,
    id: &'a str,
    title: &str,
    description: String,
    unit: &'static str,
    of: Of,
) -> Option<Chart<'a>> {
    let points = of_runs(series, of);
    if points.is_empty() {
        return None;
    }
    let lost = lost(series, of);
    let drawn: Vec<Outcome> = points.iter().map(|(_, run, _)| run.outcome).collect();
    let present = |outcome: &Outcome| {
        drawn.contains(outcome) || (*outcome == Outcome::Unmeasured && !lost.is_empty())
    };
    let legend = Outcome::ALL.into_iter().filter(present);
    let legend = legend.map(|outcome| (class(outcome).to_owned(), outcome.word().to_owned()));
    Some(Chart {
        id,
        title: title.to_owned(),
        description,
        legend: legend.collect(),
        draw: Box::new(move |window| draw(series, &points, &lost, unit, window)),
    })
}

/// The ends of the vertical axis: all estimates, and of the intervals what does not press the estimates together.
fn ends(points: &[(usize, &Run, Figure)], always: &[f64]) -> (f64, f64) {
    let values = points.iter().map(|(_, _, figure)| figure.value);
    let values = values.chain(always.iter().copied());
    let (low, high) = Scale::covering(values, 0.0).unwrap_or((0.0, 1.0));
    let reach = 0.6 * (high - low).max(high.abs() * 0.05);
    let intervals = points.iter().filter_map(|(_, _, figure)| figure.interval);
    let whiskers = intervals.flat_map(|(a, b)| [a.max(low - reach), b.min(high + reach)]);
    Scale::covering(whiskers.chain([low, high]), 0.06).unwrap_or((low, high))
}

fn draw(
    series: &Series,
    points: &[(usize, &Run, Figure)],
    lost: &[(usize, &Run)],
    unit: &str,
    window: Window,
) -> Drawing {
    let frame = Frame::new(window);
    let mut svg = Markup::default();
    let changes = unit == "change, %";
    let first = series.runs.len() - shown(series).len();
    let number = |index: usize| (first + index + 1) as f64;
    let x = frame.x((first as f64 + 0.4, series.runs.len() as f64 + 0.6));
    let allowed = threshold(series).filter(|_| changes);
    let always: Vec<f64> = allowed.into_iter().chain(changes.then_some(0.0)).collect();
    let y = frame.y(ends(points, &always));
    let whole = |value: f64, _: usize| {
        if (value - value.round()).abs() < 1e-6 {
            format!("{value:.0}")
        } else {
            String::new()
        }
    };
    let write: &crate::svg::Write<'_> = if changes { &hundredths } else { &plain };
    frame.axes(&mut svg, (&x, "run", &whole), (&y, unit, write), window);
    let across = |svg: &mut Markup, class: &str, value: f64| {
        let (left, right) = (frame.left, frame.width - frame.right);
        segment(svg, class, (left, y.place(value)), (right, y.place(value)));
    };
    if changes {
        across(&mut svg, "line equal", 0.0);
    }
    if let Some(allowed) = allowed {
        across(&mut svg, "line budget", allowed);
    }
    let place = |index: usize, value: f64| (x.place(number(index)), y.place(value));
    let line: Vec<(f64, f64)> = points
        .iter()
        .map(|(index, _, figure)| place(*index, figure.value))
        .collect();
    polyline(&mut svg, "line front", &line);
    let (low, high) = y.ends();
    for (index, _, figure) in points {
        if let Some((from, to)) = figure.interval {
            let (from, to) = (from.clamp(low, high), to.clamp(low, high));
            segment(&mut svg, "whisker", place(*index, from), place(*index, to));
        }
    }
    for (index, run) in lost {
        dot(
            &mut svg,
            class(run.outcome),
            place(*index, low),
            3.4,
            &tip(run),
        );
    }
    for (index, run, figure) in points {
        let (at, class, tip) = (place(*index, figure.value), class(run.outcome), tip(run));
        if class.starts_with("mark") {
            diamond(&mut svg, class, at, 6.0, &tip);
        } else {
            dot(&mut svg, class, at, window.pick(4.0, 3.4), &tip);
        }
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}

/// What hovering over a run says.
fn tip(run: &Run) -> String {
    let mut lines = Vec::new();
    if !run.label.is_empty() {
        lines.push(run.label.clone());
    }
    lines.push(format::moment(run.unix_s));
    let both = |what: &str, (value, interval): (Option<String>, Option<String>)| {
        let value = value?;
        let interval = interval.map_or_else(String::new, |interval| format!(" ({interval})"));
        Some(format!("{what} {value}{interval}"))
    };
    lines.extend(both("latency, ms:", figure(run.latency_ns, format::millis)));
    lines.extend(both("change:", figure(run.change, change)));
    lines.push(format!(
        "{}, {} processes",
        run.outcome.word(),
        run.processes
    ));
    lines.join("\n")
}
