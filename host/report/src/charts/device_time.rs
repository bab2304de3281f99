//! Best accuracy within the budget over the device time that it took.

use crate::{
    charts::{Chart, Drawing, colour, strategies},
    data::ReportData,
    format,
    html::Markup,
    svg::{Frame, Scale, Window, dot, hundredths, plain, polyline},
};

/// A strategy's way up.
struct Way<'a> {
    strategy: &'a str,
    /// Seconds of the device so far, the best accuracy measured within the budget by then, and the episode it came in.
    records: Vec<(f64, f64, u64)>,
    /// Seconds of the device in all.
    seconds: f64,
    measured: usize,
    tried: usize,
}

fn ways(data: &ReportData) -> Vec<Way<'_>> {
    let of = |strategy| {
        let mut all: Vec<&crate::Candidate> = data
            .candidates
            .iter()
            .filter(|c| c.strategy == strategy)
            .collect();
        all.sort_by_key(|c| c.episode);
        let mut way = Way {
            strategy,
            records: Vec::new(),
            seconds: 0.0,
            measured: 0,
            tried: all.len(),
        };
        for candidate in all {
            way.seconds += candidate.device_s;
            way.measured += usize::from(candidate.latency_ratio.is_some());
            let best = way.records.last().map_or(f64::NEG_INFINITY, |r| r.1);
            let counts = candidate.feasible && candidate.latency_ratio.is_some();
            if counts && candidate.accuracy > best {
                way.records
                    .push((way.seconds, candidate.accuracy, candidate.episode));
            }
        }
        way
    };
    strategies(data).into_iter().map(of).collect()
}

/// None without a measured candidate within the budget.
pub(crate) fn device_time(data: &ReportData) -> Option<Chart<'_>> {
    let names = strategies(data);
    let ways: Vec<Way<'_>> = ways(data)
        .into_iter()
        .filter(|way| !way.records.is_empty() && way.seconds > 0.0)
        .collect();
    if ways.is_empty() {
        return None;
    }
    let told: Vec<String> = ways
        .iter()
        .filter_map(|way| {
            let (at, best, episode) = way.records.last()?;
            Some(format!(
                "{}: {} after {at:.1} s, in episode {episode}; {} of {} candidates were measured in {:.1} s",
                way.strategy,
                format::percent(*best),
                way.measured,
                way.tried,
                way.seconds
            ))
        })
        .collect();
    let legend = ways.iter().map(|way| {
        (
            format!("line {}", colour(&names, way.strategy)),
            way.strategy.to_owned(),
        )
    });
    Some(Chart {
        id: "device-time",
        title: "Accuracy over device time".into(),
        description: format!(
            "The best accuracy within the budget by the time that the device had spent on measuring. {}.",
            told.join(". ")
        ),
        legend: legend.collect(),
        draw: Box::new(move |window| draw(&names, &ways, window)),
    })
}

fn draw(names: &[&str], ways: &[Way<'_>], window: Window) -> Drawing {
    let frame = Frame {
        height: window.pick(400.0, 300.0),
        ..Frame::new(window)
    };
    let mut svg = Markup::default();
    let ends = ways.iter().map(|way| way.seconds).chain([0.0]);
    let x = frame.x(Scale::covering(ends, 0.02).unwrap_or((0.0, 1.0)));
    let reached = ways.iter().flat_map(|way| way.records.iter().map(|r| r.1));
    let y = frame.y(Scale::covering(reached, 0.06).unwrap_or((0.0, 1.0)));
    frame.axes(
        &mut svg,
        (&x, "device time, s", &plain),
        (&y, "best accuracy, %", &hundredths),
        window,
    );
    for way in ways {
        let class = colour(names, way.strategy);
        let mut line = Vec::new();
        let mut last = None;
        for &(seconds, accuracy, episode) in &way.records {
            let place = (x.place(seconds), y.place(accuracy));
            line.extend(last.map(|height| (place.0, height)));
            line.push(place);
            last = Some(place.1);
            let tip = format!(
                "{} episode {episode}\naccuracy {}\nafter {seconds:.1} s of the device",
                way.strategy,
                format::percent(accuracy)
            );
            dot(
                &mut svg,
                &format!("dot {class}"),
                place,
                window.pick(3.6, 3.0),
                &tip,
            );
        }
        line.extend(last.map(|height| (x.place(way.seconds), height)));
        polyline(&mut svg, &format!("line {class}"), &line);
    }
    Drawing {
        width: frame.width,
        height: frame.height,
        content: svg,
    }
}
