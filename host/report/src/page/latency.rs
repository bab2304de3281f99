//! The table of percentiles.

use maud::{Markup, html};

use crate::data::ReportData;
use crate::format;
use crate::html::{Figure, cell, row_name, table};

/// The quantiles of the table, after the name and the number of samples.
const PARTS: [f64; 8] = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0];

/// Percentiles of the samples of every row that has some.
pub(super) fn percentiles(data: &ReportData) -> Markup {
    let rows = data.rows.iter().filter_map(|row| {
        let samples = &row.latency.as_ref()?.samples_ns;
        (!samples.is_empty()).then(|| percentiles_of(&row.label, samples))
    });
    let rows: Vec<Markup> = rows.collect();
    if rows.is_empty() {
        return Markup::default();
    }
    let head = [
        "milliseconds",
        "samples",
        "least",
        "5 %",
        "25 %",
        "median",
        "75 %",
        "95 %",
        "99 %",
        "greatest",
    ]
    .map(Figure);
    let rows = html! { @for row in &rows { tr { (row) } } };
    let label = "Percentiles of the latency samples";
    html! { div.card.gap { (table(label, "dense", &head, rows)) } }
}

fn percentiles_of(label: &str, samples_ns: &[u64]) -> Markup {
    let mut sorted: Vec<f64> = samples_ns.iter().map(|&ns| ns as f64).collect();
    sorted.sort_by(f64::total_cmp);
    html! {
        (row_name(label))
        (cell(Some(format::exact(sorted.len() as u64))))
        @for part in PARTS { (cell(format::quantile(&sorted, part).map(format::millis))) }
    }
}
