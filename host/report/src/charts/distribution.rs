//! Latency samples of the networks of the table, one histogram above the other on a common axis.

use crate::{
    Role, Row,
    charts::{Chart, Drawing},
    data::ReportData,
    format,
    html::Markup,
    svg::{Frame, Scale, Window, at, plain, rect, segment, text},
};

/// A network's samples, ascending, in milliseconds.
struct Samples<'a> {
    row: &'a Row,
    sorted: Vec<f64>,
}

impl Samples<'_> {
    fn quantile(&self, part: f64) -> f64 {
        format::quantile(&self.sorted, part).unwrap_or_default()
    }
}

/// None unless a row has two samples or more.
pub(crate) fn distribution(data: &ReportData) -> Option<Chart<'_>> {
    let mut all: Vec<Samples<'_>> = Vec::new();
    for row in &data.rows {
        let Some(latency) = row
            .latency
            .as_ref()
            .filter(|latency| latency.samples_ns.len() > 1)
        else {
            continue;
        };
        let mut sorted: Vec<f64> = latency
            .samples_ns
            .iter()
            .map(|&ns| ns as f64 / 1e6)
            .collect();
        sorted.sort_by(f64::total_cmp);
        all.push(Samples { row, sorted });
    }
    if all.is_empty() {
        return None;
    }
    let count: usize = all.iter().map(|s| s.sorted.len()).sum();
    let description = format!(
        "Distribution of {count} single inference times; each histogram has its own height. The line is the median, the bar \
         below reaches from the 5th to the 95th percentile, thick between the quartiles. The axis ends a little \
         after the 95th percentile of the slowest; later samples are counted at the right."
    );
    let draw = move |window| draw(&all, window);
    Some(Chart {
        id: "distribution",
        title: "Latency distribution".into(),
        description,
        legend: Vec::new(),
        draw: Box::new(draw),
    })
}

fn draw(all: &[Samples<'_>], window: Window) -> Drawing {
    let lane = 84.0;
    let frame = Frame::new(window);
    let frame = Frame {
        height: frame.top + frame.bottom + lane * all.len() as f64,
        left: 14.0,
        top: 8.0,
        width: window.pick(1260.0, 340.0),
        ..frame
    };
    let mut svg = Markup::default();
    let low = all
        .iter()
        .map(|s| s.sorted[0])
        .fold(f64::INFINITY, f64::min);
    let end = |s: &Samples<'_>| s.quantile(0.95) + 0.5 * (s.quantile(0.95) - s.quantile(0.05));
    let high = all
        .iter()
        .map(|s| end(s).min(s.quantile(1.0)))
        .fold(f64::NEG_INFINITY, f64::max);
    let x = frame.x(Scale::covering([low, high].into_iter(), 0.02).unwrap_or((0.0, 1.0)));
    let bottom = frame.height - frame.bottom;
    let (ticks, decimals) = x.ticks(window.pick(12, 5));
    for tick in ticks {
        let place = x.place(tick);
        segment(&mut svg, "grid", (place, frame.top), (place, bottom));
        text(
            &mut svg,
            "tick middle",
            place,
            at(bottom + 16.0),
            &plain(tick, decimals),
        );
    }
    text(
        &mut svg,
        "title end",
        frame.width - frame.right,
        at(frame.height - 8.0),
        "milliseconds per inference",
    );
    let bins = window.pick(120, 50);
    for (index, samples) in all.iter().enumerate() {
        let base = frame.top + lane * (index + 1) as f64 - 14.0;
        histogram(&mut svg, samples, &x, bins, base, lane - 46.0);
        let class = if samples.row.role == Role::Pruned {
            "label strong"
        } else {
            "label"
        };
        text(
            &mut svg,
            class,
            frame.left + 2.0,
            at(base - lane + 36.0),
            &format::shorten(&samples.row.label, window.pick(60, 24)),
        );
        let beyond = samples.sorted.iter().filter(|&&v| !x.holds(v)).count();
        if beyond > 0 {
            let note = format!("{beyond} of {} later", samples.sorted.len());
            text(
                &mut svg,
                "tick end",
                frame.width - frame.right,
                at(base - lane + 36.0),
                &note,
            );
        }
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}

fn histogram(
    svg: &mut Markup,
    samples: &Samples<'_>,
    x: &Scale,
    bins: usize,
    base: f64,
    height: f64,
) {
    let (low, high) = x.ends();
    let mut counts = vec![0usize; bins];
    for &value in samples.sorted.iter().filter(|&&v| x.holds(v)) {
        let bin = ((value - low) / (high - low) * bins as f64) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let class = if samples.row.role == Role::Pruned {
        "histogram pruned"
    } else {
        "histogram"
    };
    let step = (high - low) / bins as f64;
    for (bin, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let (from, to) = (low + bin as f64 * step, low + (bin + 1) as f64 * step);
        let tall = height * count as f64 / most;
        let tip = format!(
            "{}\n{} to {} ms\n{count} of {} samples",
            samples.row.label,
            format::significant(from, 4),
            format::significant(to, 4),
            samples.sorted.len()
        );
        let wide = x.place(to) - x.place(from);
        rect(
            svg,
            class,
            (x.place(from), base - tall),
            ((wide - 0.5).max(0.5), tall),
            Some(&tip),
        );
    }
    let place = |part: f64| x.place(samples.quantile(part).clamp(low, high));
    segment(
        svg,
        "whisker",
        (place(0.05), base + 5.0),
        (place(0.95), base + 5.0),
    );
    segment(
        svg,
        "whisker thick",
        (place(0.25), base + 5.0),
        (place(0.75), base + 5.0),
    );
    segment(
        svg,
        "median",
        (place(0.5), base - height - 2.0),
        (place(0.5), base + 9.0),
    );
}
