//! The history as tables for the terminal.

use std::fmt::Write as _;

use super::{HistoryData, Run, change, formatted};
use crate::format::{self, NONE, printable, single_line};
use crate::table::{Style, lines};

/// Renders a table for each series, from the oldest run to the newest.
pub fn text(data: &HistoryData) -> String {
    if data.series.is_empty() {
        return "The history is empty: nothing was measured yet.\n".to_owned();
    }
    let mut out = String::new();
    for (index, series) in data.series.iter().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{} on {} ({}), {}",
            series.model, series.device, series.device_id, series.setup
        );
        let head = [
            "when",
            "label",
            "latency, ms (95 %)",
            "change (95 %)",
            "verdict",
        ];
        for line in lines(head, series.runs.iter().map(row).collect(), Style::Text) {
            let _ = writeln!(out, "{line}");
        }
    }
    printable(&out)
}

fn row(run: &Run) -> [String; 5] {
    let both = |(value, interval): (Option<String>, Option<String>)| match (value, interval) {
        (Some(value), Some(interval)) => format!("{value} ({interval})"),
        (Some(value), None) => value,
        _ => NONE.to_owned(),
    };
    [
        format::moment(run.unix_s),
        single_line(&run.title()),
        both(formatted(run.latency_ns, format::millis)),
        both(formatted(run.change, change)),
        run.verdict.word().to_owned(),
    ]
}
