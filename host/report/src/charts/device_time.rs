//! Best accuracy within the budget over the device time of the search.

use crate::charts::{ACCURACY_NOISE, Chart, Drawing, Strategies};
use crate::data::{Candidate, ReportData};
use crate::format;
use crate::svg::{Canvas, Frame, Scale, Window, hundredths, plain};

/// The progress of a strategy.
struct Progress<'a> {
    strategy: &'a str,
    records: Vec<Record>,
    /// Device time of all candidates, in seconds.
    seconds: f64,
    measured: usize,
    tried: usize,
}

/// A measured candidate within the budget that was the best so far.
struct Record {
    /// Device time until then, in seconds.
    seconds: f64,
    accuracy: f64,
    episode: u64,
}

fn progress<'a>(data: &ReportData, strategy: &'a str) -> Progress<'a> {
    let all = data.candidates.iter().filter(|c| c.strategy == strategy);
    let mut all: Vec<&Candidate> = all.collect();
    all.sort_by_key(|c| c.episode);
    let mut progress = Progress {
        strategy,
        records: Vec::new(),
        seconds: 0.0,
        measured: 0,
        tried: all.len(),
    };
    for candidate in all {
        progress.seconds += candidate.device_s;
        if candidate.latency_ratio.is_none() {
            continue;
        }
        progress.measured += 1;
        let best = progress.records.last().map(|record| record.accuracy);
        let best = best.unwrap_or(f64::NEG_INFINITY);
        if candidate.feasible && candidate.accuracy > best {
            progress.records.push(Record {
                seconds: progress.seconds,
                accuracy: candidate.accuracy,
                episode: candidate.episode,
            });
        }
    }
    progress
}

/// `None` without a measured candidate within the budget.
pub(crate) fn device_time(data: &ReportData) -> Option<Chart<'_>> {
    let strategies = Strategies::of(data);
    let all = strategies.names().map(|name| progress(data, name));
    let all: Vec<Progress<'_>> = all
        .filter(|one| !one.records.is_empty() && one.seconds > 0.0)
        .collect();
    if all.is_empty() {
        return None;
    }
    let name = &data.header.estimate.name[..];
    let summaries: Vec<String> = all.iter().filter_map(summary).collect();
    let legend = all.iter().map(|one| {
        let class = format!("line {}", strategies.colour(one.strategy));
        (class, one.strategy.to_owned())
    });
    Some(Chart {
        id: "device-time",
        title: format!("{} over device time", data.header.estimate.title()),
        description: format!(
            "The best {} within the budget by device time spent on measurements. {}.",
            data.header.estimate.name,
            summaries.join(". ")
        ),
        legend: legend.collect(),
        draw: Box::new(move |window| draw((&strategies, name), &all, window)),
    })
}

fn summary(progress: &Progress<'_>) -> Option<String> {
    let last = progress.records.last()?;
    Some(format!(
        "{}: {} after {:.1} s, in episode {}; {} of {} candidates were measured in {:.1} s",
        progress.strategy,
        format::percent(last.accuracy),
        last.seconds,
        last.episode,
        progress.measured,
        progress.tried,
        progress.seconds
    ))
}

fn draw(
    (strategies, name): (&Strategies<'_>, &str),
    all: &[Progress<'_>],
    window: Window,
) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 300.0),
        ..Frame::new(window)
    };
    let mut svg = Canvas::default();
    let times = all.iter().map(|one| one.seconds).chain([0.0]);
    let x = frame.x(Scale::covering(times, 0.02).unwrap_or((0.0, 1.0)));
    let records = all.iter().flat_map(|one| &one.records);
    let y = Scale::beyond(ACCURACY_NOISE, records.map(|record| record.accuracy), 0.06);
    let y = frame.y(y.unwrap_or((0.0, 1.0)));
    frame.axes(
        &mut svg,
        (&x, "device time, s", &plain),
        (&y, &format!("best {name}, %"), &hundredths),
        window,
    );
    for one in all {
        let class = strategies.colour(one.strategy);
        let mut line = Vec::new();
        let mut height = None;
        for record in &one.records {
            let point = (x.map(record.seconds), y.map(record.accuracy));
            line.extend(height.map(|height| (point.0, height)));
            line.push(point);
            height = Some(point.1);
            let tip = format!(
                "{} episode {}\n{name} {}\nafter {:.1} s of the device",
                one.strategy,
                record.episode,
                format::percent(record.accuracy),
                record.seconds
            );
            let radius = window.pick(3.6, 3.0);
            svg.dot(&format!("dot {class}"), point, radius, &tip);
        }
        line.extend(height.map(|height| (x.map(one.seconds), height)));
        svg.polyline(&format!("line {class}"), &line);
    }
    Drawing::framed(&frame, svg)
}
