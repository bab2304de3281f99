//! The result as a table for the terminal.

use std::fmt::Write;

use crate::{LatencyFigure, Row, Verdict, data::ReportData, format, html::disturbs};

/// The table of the networks with the verdict below, for a terminal of fixed-width characters. Nothing in names can control
/// the terminal. Ends with a newline.
pub fn text_table(data: &ReportData) -> String {
    if data.rows.is_empty() {
        return "No network was compared: not run.\n".to_owned();
    }
    let head = [
        "",
        "test acc.",
        "latency [95 %]",
        "ratio [95 %]",
        "MACs",
        "parameters",
        "bytes",
    ]
    .map(str::to_owned);
    let mut lines = vec![head];
    for row in &data.rows {
        lines.push(cells(row));
        lines.extend(row.checks.iter().map(check));
    }
    let mut widths = [0; 7];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    for (index, line) in lines.iter().enumerate() {
        let mut text = String::new();
        for (column, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            let gap = if column == 0 { "" } else { "  " };
            text += &if column == 0 {
                format!("{cell}{pad}")
            } else {
                format!("{gap}{pad}{cell}")
            };
        }
        let _ = writeln!(out, "{}", text.trim_end());
        if index == 0 {
            let _ = writeln!(
                out,
                "{}",
                "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1))
            );
        }
    }
    let _ = match &data.verdict {
        Verdict::Unfinished => writeln!(out, "The run is not finished."),
        Verdict::Met(why) => writeln!(out, "Budget met: {}", clean(why)),
        Verdict::NotMet(why) => writeln!(out, "Budget NOT met: {}", clean(why)),
    };
    for warning in &data.warnings {
        let _ = writeln!(out, "warning: {}", clean(warning));
    }
    out
}

fn cells(row: &Row) -> [String; 7] {
    let (latency, ratio) = match &row.latency {
        None => (none(), none()),
        Some(figure) => measured(figure),
    };
    let device = row.latency.as_ref().map_or("", |figure| &figure.device);
    let label = match device {
        "" => clean(&row.label),
        device => format!("{} on {}", clean(&row.label), clean(device)),
    };
    [
        format::shorten(&label, 40),
        row.test_accuracy.map_or_else(none, format::percent),
        latency,
        ratio,
        row.macs.map_or_else(none, format::short),
        row.parameters.map_or_else(none, format::short),
        row.bytes.map_or_else(none, format::exact),
    ]
}

/// The same network on another device.
fn check(figure: &LatencyFigure) -> [String; 7] {
    let (latency, ratio) = measured(figure);
    let label = format!("  check on {}", clean(&figure.device));
    let label = format::shorten(&label, 40);
    [label, none(), latency, ratio, none(), none(), none()]
}

fn none() -> String {
    "-".to_owned()
}

/// Latency and ratio, each with its interval.
fn measured(figure: &LatencyFigure) -> (String, String) {
    let [median, low, high] = [figure.median_ns, figure.low_ns, figure.high_ns].map(format::millis);
    let ratio = match (figure.ratio, figure.ratio_low, figure.ratio_high) {
        (Some(ratio), Some(low), Some(high)) => {
            format!(
                "{} [{}, {}]",
                format::ratio(ratio),
                format::ratio(low),
                format::ratio(high)
            )
        }
        (Some(ratio), _, _) => format::ratio(ratio),
        _ => none(),
    };
    (format!("{median} ms [{low}, {high}]"), ratio)
}

/// Without control characters and line breaks.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() || disturbs(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}
