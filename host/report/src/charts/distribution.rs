//! Histograms of the latency samples, one network per lane, on a common axis.

use crate::charts::{Chart, Drawing};
use crate::data::{ReportData, Role, Row};
use crate::format;
use crate::svg::{Canvas, Frame, Scale, Window, plain};

/// Height of a network's lane.
const LANE: f64 = 84.0;
/// Height of the tallest bar.
const TALLEST: f64 = LANE - 46.0;

/// A network's samples in ascending order, in milliseconds.
struct Samples<'a> {
    row: &'a Row,
    sorted: Vec<f64>,
}

impl Samples<'_> {
    /// The samples of a row that has two or more.
    fn of(row: &Row) -> Option<Samples<'_>> {
        let samples = &row.latency.as_ref()?.samples_ns;
        if samples.len() < 2 {
            return None;
        }
        let mut sorted: Vec<f64> = samples.iter().map(|&ns| ns as f64 / 1e6).collect();
        sorted.sort_by(f64::total_cmp);
        Some(Samples { row, sorted })
    }

    fn quantile(&self, part: f64) -> f64 {
        format::quantile(&self.sorted, part).unwrap_or_default()
    }

    /// Where the axis may end: a little after the 95th percentile.
    fn end(&self) -> f64 {
        let (low, high) = (self.quantile(0.05), self.quantile(0.95));
        (high + 0.5 * (high - low)).min(self.quantile(1.0))
    }

    fn is_pruned(&self) -> bool {
        self.row.role == Role::Pruned
    }
}

/// `None` unless a row has two samples or more.
pub(crate) fn distribution(data: &ReportData) -> Option<Chart<'_>> {
    let all: Vec<Samples<'_>> = data.rows.iter().filter_map(Samples::of).collect();
    if all.is_empty() {
        return None;
    }
    let count: usize = all.iter().map(|s| s.sorted.len()).sum();
    Some(Chart {
        id: "distribution",
        title: "Latency distribution".into(),
        description: format!(
            "Distribution of {count} single inference times; each histogram is scaled to its own height. The line is the median; \
             the bar spans the 5th to the 95th percentile and is thick between the quartiles. The axis ends shortly after \
             the 95th percentile of the slowest network; the number of later samples is shown on the right."
        ),
        legend: Vec::new(),
        draw: Box::new(move |window| draw(&all, window)),
    })
}

fn draw(all: &[Samples<'_>], window: Window) -> Drawing {
    let frame = Frame::new(window);
    let frame = Frame {
        height: frame.top + frame.bottom + LANE * all.len() as f64,
        left: 14.0,
        top: 8.0,
        width: window.pick(1260.0, 340.0),
        ..frame
    };
    let mut svg = Canvas::default();
    let low = all.iter().map(|s| s.sorted[0]);
    let low = low.fold(f64::INFINITY, f64::min);
    let high = all.iter().map(Samples::end);
    let high = high.fold(f64::NEG_INFINITY, f64::max);
    let x = frame.x(Scale::covering([low, high].into_iter(), 0.02).unwrap_or((0.0, 1.0)));
    let (bottom, right) = (frame.bottom_edge(), frame.right_edge());
    let (ticks, decimals) = x.ticks(window.pick(12, 5));
    for tick in ticks {
        let left = x.map(tick);
        svg.segment("grid", (left, frame.top), (left, bottom));
        let label = plain(tick, decimals);
        svg.text("tick middle", (left, bottom + 16.0), &label);
    }
    let title = "milliseconds per inference";
    svg.text("title end", (right, frame.height - 8.0), title);
    for (index, samples) in all.iter().enumerate() {
        let base = frame.top + LANE * (index + 1) as f64 - 14.0;
        histogram(&mut svg, samples, &x, window.pick(120, 50), base);
        percentiles(&mut svg, samples, &x, base);
        let class = if samples.is_pruned() {
            "label strong"
        } else {
            "label"
        };
        let height = base - LANE + 36.0;
        let label = format::shorten(&samples.row.label, window.pick(60, 24));
        svg.text(class, (frame.left + 2.0, height), &label);
        let later = samples.sorted.iter().filter(|&&v| !x.contains(v)).count();
        if later > 0 {
            let note = format!("{later} of {} later", samples.sorted.len());
            svg.text("tick end", (right, height), &note);
        }
    }
    Drawing::framed(&frame, svg)
}

fn histogram(svg: &mut Canvas, samples: &Samples<'_>, x: &Scale, bins: usize, base: f64) {
    let (low, high) = x.ends();
    let mut counts = vec![0usize; bins];
    for &value in samples.sorted.iter().filter(|&&v| x.contains(v)) {
        let bin = ((value - low) / (high - low) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let class = if samples.is_pruned() {
        "histogram pruned"
    } else {
        "histogram"
    };
    let step = (high - low) / bins as f64;
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (low + bin as f64 * step, low + (bin + 1) as f64 * step);
        let height = TALLEST * count as f64 / most;
        let width = (x.map(to) - x.map(from) - 0.5).max(0.5);
        let tip = format!(
            "{}\n{} to {} ms\n{count} of {} samples",
            samples.row.label,
            format::significant(from, 4),
            format::significant(to, 4),
            samples.sorted.len()
        );
        svg.rect(
            class,
            (x.map(from), base - height),
            (width, height),
            Some(&tip),
        );
    }
}

/// The median as a line through the histogram, other percentiles as bars below it.
fn percentiles(svg: &mut Canvas, samples: &Samples<'_>, x: &Scale, base: f64) {
    let (low, high) = x.ends();
    let left = |part: f64| x.map(samples.quantile(part).clamp(low, high));
    let mut bar = |class: &str, from: f64, to: f64| {
        svg.segment(class, (left(from), base + 5.0), (left(to), base + 5.0));
    };
    bar("whisker", 0.05, 0.95);
    bar("whisker thick", 0.25, 0.75);
    let top = base - TALLEST - 2.0;
    svg.segment("median", (left(0.5), top), (left(0.5), base + 9.0));
}
