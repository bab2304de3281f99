//! The history for a terminal.

use std::fmt::Write as _;

use super::{HistoryData, Run, change, figure};
use crate::format::{self, NONE};

/// A table for each series, from the oldest run to the newest.
pub fn text(data: &HistoryData) -> String {
    if data.series.is_empty() {
        return "The history is empty: nothing was measured yet.\n".to_owned();
    }
    let mut out = String::new();
    for (index, series) in data.series.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "{}{} on {} ({}), {}",
            if index > 0 { "\n" } else { "" },
            series.model,
            series.device,
            series.device_id,
            series.setup
        );
        let head = [
            "when",
            "label",
            "latency, ms (95 %)",
            "change (95 %)",
            "verdict",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(series.runs.iter().map(row));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
        for row in &rows {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            let _ = writeln!(out, "{}", cells.join("  ").trim_end());
        }
    }
    out.chars()
        .map(|c| {
            if crate::html::disturbs(c) {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn row(run: &Run) -> [String; 5] {
    let both = |(value, interval): (Option<String>, Option<String>)| match (value, interval) {
        (Some(value), Some(interval)) => format!("{value} ({interval})"),
        (Some(value), None) => value,
        _ => NONE.to_owned(),
    };
    [
        format::moment(run.unix_s),
        run.title(),
        both(figure(run.latency_ns, format::millis)),
        both(figure(run.change, change)),
        run.outcome.word().to_owned(),
    ]
}
