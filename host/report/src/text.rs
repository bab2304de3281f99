//! The result of a run as a table for the terminal.

use std::fmt::Write;

use crate::data::{DOES_NOT_FIT, LatencyFigure, Metric, ReportData, Row, Verdict};
use crate::format::{self, single_line};
use crate::table::{Style, lines};

/// Longest label of a network.
const LETTERS: usize = 40;

/// Renders the compared networks as a table, followed by the verdict and the warnings, for a
/// terminal with a fixed-width font. Names cannot control the terminal. Ends with a newline.
pub fn text_table(data: &ReportData) -> String {
    if data.rows.is_empty() {
        return "No network was compared: not run.\n".to_owned();
    }
    let metric = &data.header.score;
    let score = match &metric.name[..] {
        "accuracy" => "test acc.".to_owned(),
        name => single_line(&format!("test {name}")),
    };
    let head = [
        "",
        &score[..],
        "latency [95 %]",
        "ratio [95 %]",
        "MACs",
        "parameters",
        "bytes",
    ];
    let mut rows = Vec::new();
    for row in &data.rows {
        rows.push((network(row, metric), row.latency.as_ref()));
        let checks = row.checks.iter();
        rows.extend(checks.map(|check| (other_device(check), Some(check))));
    }
    let table = if data.is_simulated() {
        let rows = rows.into_iter().map(|(cells, latency)| {
            let [label, accuracy, latency_ms, ratio, macs, parameters, bytes] = cells;
            let origin = latency.map_or_else(none, origin);
            [
                label, accuracy, latency_ms, ratio, origin, macs, parameters, bytes,
            ]
        });
        let [label, accuracy, latency, ratio, macs, parameters, bytes] = head;
        let head = [
            label,
            accuracy,
            latency,
            ratio,
            "simulated",
            macs,
            parameters,
            bytes,
        ];
        lines(head, rows.collect(), Style::Figures)
    } else {
        let rows = rows.into_iter().map(|(cells, _)| cells);
        lines(head, rows.collect(), Style::Figures)
    };
    let mut out = table.join("\n") + "\n";
    for row in data
        .rows
        .iter()
        .filter(|row| row.figures.len() > 1 || metric.name != "fidelity")
    {
        let figures = row.figures.iter();
        let figures = figures.map(|of| format!("{} {}", of.name, format::percent(of.value)));
        let figures: Vec<String> = figures.collect();
        if !figures.is_empty() {
            let line = format!("{}: {}", row.label, figures.join(", "));
            // Writing to a string does not fail.
            let _ = writeln!(out, "{}", single_line(&line));
        }
    }
    if let Some(line) = tested(data) {
        // Writing to a string does not fail.
        let _ = writeln!(out, "{}", single_line(&line));
    }
    if let Some(reference) = data.stand_in() {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "Ratios are to {}: the original does not fit the device.",
            single_line(reference)
        );
    }
    // Writing to a string does not fail.
    let _ = match &data.verdict {
        Verdict::Unfinished => writeln!(out, "The run is not finished."),
        Verdict::Met(why) => writeln!(out, "Budget met: {}", single_line(why)),
        Verdict::NotMet(why) => writeln!(out, "Budget NOT met: {}", single_line(why)),
    };
    for warning in &data.warnings {
        let _ = writeln!(out, "warning: {}", single_line(warning));
    }
    out
}

/// How well the test split determines the scores.
fn tested(data: &ReportData) -> Option<String> {
    let metric = &data.header.score;
    let intervals = data
        .rows
        .iter()
        .filter_map(|row| Some(format!("{} {}", row.label, row.test_range(metric)?)));
    let intervals: Vec<String> = intervals.collect();
    let samples = format::exact(data.test_images()?);
    (!intervals.is_empty()).then(|| {
        format!(
            "Test {} over {samples} samples, 95 %: {}",
            metric.name,
            intervals.join(", ")
        )
    })
}

fn network(row: &Row, metric: &Metric) -> [String; 7] {
    let (latency, ratio) = match &row.latency {
        None if row.does_not_fit => (DOES_NOT_FIT.to_owned(), none()),
        None => (none(), none()),
        Some(latency) => measured(latency),
    };
    let label = match row.latency.as_ref().map_or("", |latency| &latency.device) {
        "" => single_line(&row.label),
        device => single_line(&format!("{} on {device}", row.label)),
    };
    [
        format::shorten(&label, LETTERS),
        row.test_accuracy
            .map_or_else(none, |value| metric.write(value)),
        latency,
        ratio,
        row.macs.map_or_else(none, format::short),
        row.parameters.map_or_else(none, format::short),
        row.bytes.map_or_else(none, format::exact),
    ]
}

/// The same network on another device.
fn other_device(latency: &LatencyFigure) -> [String; 7] {
    let label = single_line(&format!("  check on {}", latency.device));
    let label = format::shorten(&label, LETTERS);
    let (latency, ratio) = measured(latency);
    [label, none(), latency, ratio, none(), none(), none()]
}

/// Whether a figure is of a simulated board.
fn origin(latency: &LatencyFigure) -> String {
    if latency.simulated { "yes" } else { "no" }.to_owned()
}

fn none() -> String {
    "-".to_owned()
}

/// Latency and ratio, each with its interval.
fn measured(latency: &LatencyFigure) -> (String, String) {
    let bracketed = |low: String, high: String| format!("[{low}, {high}]");
    let [median, low, high] =
        [latency.median_ns, latency.low_ns, latency.high_ns].map(format::millis);
    let time = format!("{median} ms {}", bracketed(low, high));
    let ratio = latency.ratio.map_or_else(none, format::ratio);
    match (latency.ratio, latency.ratio_low, latency.ratio_high) {
        (Some(_), Some(low), Some(high)) => {
            let interval = bracketed(format::ratio(low), format::ratio(high));
            (time, format!("{ratio} {interval}"))
        }
        _ => (time, ratio),
    }
}
