//! The two charts of a series: its latency, and its change against the baseline.

use super::{Estimate, Run, RunVerdict, Series, change, formatted};
use crate::charts::{Chart, Drawing};
use crate::format;
use crate::svg::{Canvas, Frame, Scale, TickFormat, Window, hundredths, plain};

/// Longest label of a run at the axis.
const LABEL: usize = 9;

/// The most runs that are drawn and listed, the newest ones.
const MOST: usize = 200;

/// The runs that are drawn and listed.
pub(super) fn newest(series: &Series) -> &[Run] {
    &series.runs[series.runs.len().saturating_sub(MOST)..]
}

/// The quantity that a chart shows.
#[derive(Clone, Copy, PartialEq)]
enum Quantity {
    /// In milliseconds.
    Latency,
    /// Relative to the baseline.
    Change,
}

impl Quantity {
    fn of(self, run: &Run) -> Option<Estimate> {
        let estimate = match self {
            Self::Latency => run.latency_ns.map(|ns| Estimate {
                value: ns.value / 1e6,
                interval: ns.interval.map(|(low, high)| (low / 1e6, high / 1e6)),
            }),
            Self::Change => run.change,
        };
        estimate.filter(|estimate| estimate.value.is_finite())
    }

    fn axis(self) -> (&'static str, &'static TickFormat<'static>) {
        match self {
            Self::Latency => ("latency, ms", &plain),
            Self::Change => ("change, %", &hundredths),
        }
    }
}

/// What a chart draws of a series.
struct Runs<'a> {
    quantity: Quantity,
    series: &'a Series,
    /// Runs with an estimate, by their number.
    points: Vec<(usize, &'a Run, Estimate)>,
    /// Runs whose model could not be measured, by their number; drawn on the lower edge.
    failures: Vec<(usize, &'a Run)>,
}

impl<'a> Runs<'a> {
    /// `None` if no run has an estimate.
    fn of(series: &'a Series, quantity: Quantity) -> Option<Self> {
        let first = series.runs.len() - newest(series).len();
        let numbered = || (first + 1..).zip(newest(series));
        let points: Vec<_> = numbered()
            .filter_map(|(number, run)| Some((number, run, quantity.of(run)?)))
            .collect();
        let failed =
            |run: &Run| run.verdict == RunVerdict::Unmeasured && quantity.of(run).is_none();
        (!points.is_empty()).then(|| Self {
            quantity,
            series,
            points,
            failures: numbered().filter(|(_, run)| failed(run)).collect(),
        })
    }

    fn chart(self, id: &'a str, title: &str, description: String) -> Chart<'a> {
        let drawn = |verdict: &RunVerdict| {
            self.points
                .iter()
                .any(|(_, run, _)| run.verdict == *verdict)
                || (*verdict == RunVerdict::Unmeasured && !self.failures.is_empty())
        };
        let legend = RunVerdict::ALL.into_iter().filter(drawn);
        let legend = legend.map(|verdict| (class(verdict).to_owned(), verdict.word().to_owned()));
        Chart {
            id,
            title: title.to_owned(),
            description,
            legend: legend.collect(),
            draw: Box::new(move |window| self.draw(window)),
        }
    }
}

/// Latency by run; `None` if no run has one.
pub(super) fn latency<'a>(series: &'a Series, id: &'a str) -> Option<Chart<'a>> {
    let runs = Runs::of(series, Quantity::Latency)?;
    let description = format!(
        "The median latency of {} runs and its 95 % interval over worker processes.",
        runs.points.len()
    );
    Some(runs.chart(id, "Latency", description))
}

/// Change against the baseline by run; `None` if no run was compared.
pub(super) fn changes<'a>(series: &'a Series, id: &'a str) -> Option<Chart<'a>> {
    let runs = Runs::of(series, Quantity::Change)?;
    let threshold = threshold(series).map_or_else(|| format::NONE.to_owned(), change);
    let description = format!(
        "The change of {} runs against their baseline, its 95 % interval, and the threshold of the newest run, {threshold}.",
        runs.points.len()
    );
    let mut chart = runs.chart(id, "Change against the baseline", description);
    chart.legend.push(("line budget".into(), "allowed".into()));
    Some(chart)
}

fn threshold(series: &Series) -> Option<f64> {
    series.runs.last().map(|run| run.threshold)
}

fn class(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Fine => "dot c0",
        RunVerdict::NoBaseline => "dot c3",
        RunVerdict::Regressed | RunVerdict::Grown | RunVerdict::MemoryGrown => "mark slower",
        RunVerdict::Improved => "mark faster",
        RunVerdict::Undecided | RunVerdict::Uncompared => "dot unsure",
        RunVerdict::Unmeasured => "dot over",
    }
}

impl Runs<'_> {
    /// The ends of the vertical axis: all estimates and `lines`, and the parts of the intervals
    /// that do not compress the estimates.
    fn ends(&self, lines: &[f64]) -> (f64, f64) {
        let values = self.points.iter().map(|(_, _, estimate)| estimate.value);
        let values = values.chain(lines.iter().copied());
        let (low, high) = Scale::covering(values, 0.0).unwrap_or((0.0, 1.0));
        let most = 0.6 * (high - low).max(high.abs() * 0.05);
        let intervals = self.points.iter();
        let intervals = intervals.filter_map(|(_, _, estimate)| estimate.interval);
        let whiskers = intervals.flat_map(|(a, b)| [a.max(low - most), b.min(high + most)]);
        Scale::covering(whiskers.chain([low, high]), 0.06).unwrap_or((low, high))
    }

    /// The label of the run with this number, or else its date; empty between runs.
    fn tick(&self, number: f64) -> String {
        if (number - number.round()).abs() > 1e-6 || number < 1.0 {
            return String::new();
        }
        match self.series.runs.get(number as usize - 1) {
            None => String::new(),
            Some(run) if run.label.is_empty() => format::day(run.unix_s),
            Some(run) => match run.commit() {
                Some(commit) => commit[..7].to_owned(),
                None => format::shorten(&run.title(), LABEL),
            },
        }
    }

    fn draw(&self, window: Window) -> Drawing {
        let frame = Frame::new(window);
        let mut svg = Canvas::default();
        let total = self.series.runs.len() as f64;
        let first = total - newest(self.series).len() as f64;
        let x = frame.x((first + 0.4, total + 0.6));
        let lines = match self.quantity {
            Quantity::Latency => Vec::new(),
            Quantity::Change => {
                let threshold = threshold(self.series).map(|value| ("line budget", value));
                [("line equal", 0.0)].into_iter().chain(threshold).collect()
            }
        };
        let levels: Vec<f64> = lines.iter().map(|(_, value)| *value).collect();
        let y = frame.y(self.ends(&levels));
        let (title, write) = self.quantity.axis();
        let when = |number: f64, _: usize| self.tick(number);
        let runs = "run, by its label or its date";
        frame.axes(&mut svg, (&x, runs, &when), (&y, title, write), window);
        for (class, value) in lines {
            let height = y.map(value);
            svg.segment(class, (frame.left, height), (frame.right_edge(), height));
        }
        let point = |number: usize, value: f64| (x.map(number as f64), y.map(value));
        let estimates = self.points.iter();
        let estimates = estimates.map(|(number, _, estimate)| point(*number, estimate.value));
        svg.polyline("line front", &estimates.collect::<Vec<_>>());
        let (low, high) = y.ends();
        for (number, _, estimate) in &self.points {
            if let Some((from, to)) = estimate.interval {
                let (from, to) = (from.clamp(low, high), to.clamp(low, high));
                svg.segment("whisker", point(*number, from), point(*number, to));
            }
        }
        for (number, run) in &self.failures {
            svg.dot(class(run.verdict), point(*number, low), 3.4, &tip(run));
        }
        for (number, run, estimate) in &self.points {
            let (center, class) = (point(*number, estimate.value), class(run.verdict));
            if class.starts_with("mark") {
                svg.diamond(class, center, 6.0, &tip(run));
            } else {
                svg.dot(class, center, window.pick(4.0, 3.4), &tip(run));
            }
        }
        Drawing::framed(&frame, svg)
    }
}

/// The hover text of a run.
fn tip(run: &Run) -> String {
    let mut lines = Vec::new();
    if !run.label.is_empty() {
        lines.push(run.label.clone());
    }
    lines.push(format::moment(run.unix_s));
    let line = |name: &str, (value, interval): (Option<String>, Option<String>)| {
        let interval = interval.map_or_else(String::new, |interval| format!(" ({interval})"));
        Some(format!("{name} {}{interval}", value?))
    };
    let latency = formatted(run.latency_ns, format::millis);
    lines.extend(line("latency, ms:", latency));
    lines.extend(line("change:", formatted(run.change, change)));
    let verdict = run.verdict.word();
    lines.push(format!("{verdict}, {} processes", run.processes));
    lines.join("\n")
}
