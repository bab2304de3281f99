//! The history as a page.

use maud::{Markup, html};

use super::header::header;
use super::{HistoryData, Run, RunVerdict, Series, change, charts, formatted};
use crate::format::{self, NONE};
use crate::html::{Figure, Text, cell, document, figure, or, qualified, section, table, wrapped};

/// Renders a history as one HTML file that needs no other file and no network.
pub fn render(data: &HistoryData) -> String {
    let footer = html! {
        p {
            "A regression is a change above the threshold whose 95 % interval, over worker processes, \
             lies above zero. Changes are measured with old and new network interleaved; latencies of \
             different runs also depend on the state of the device."
        }
    };
    document("Latency on hardware", header(data), main(data), footer)
}

fn main(data: &HistoryData) -> Markup {
    html! {
        @for (index, series) in data.series.iter().enumerate() {
            (of_series(&format!("series-{index}"), series))
        }
    }
}

fn of_series(id: &str, series: &Series) -> Markup {
    let ids = ["latency", "change"].map(|chart| format!("{id}-{chart}"));
    let (latency, changes) = (
        charts::latency(series, &ids[0]),
        charts::changes(series, &ids[1]),
    );
    let no_latency = "Not measured in any of the runs shown.";
    let no_change = "No run shown was compared with a baseline.";
    let content = html! {
        p.note { code { (series.device_id) } ", " code { (series.setup) } }
        div.charts {
            (figure(latency, "Latency", no_latency))
            (figure(changes, "Change against the baseline", no_change))
        }
        (runs(series))
    };
    section(
        id,
        &format!("{} on {}", series.model, series.device),
        content,
    )
}

/// The newest runs, the newest first.
fn runs(series: &Series) -> Markup {
    let newest = charts::newest(series);
    let older = series.runs.len() - newest.len();
    let head = [
        Text("run"),
        Text("when"),
        Figure("latency, ms"),
        Figure("change"),
        Text("verdict"),
        Figure("processes"),
        Text("baseline"),
        Text("model"),
        Text("runtime"),
        Text("remark"),
    ];
    let label = format!("Runs of {} on {}", series.model, series.device);
    let rows = html! { @for run in newest.iter().rev() { tr { (row(run)) } } };
    html! {
        div.card.gap { (table(&label, "dense tall", &head, rows)) }
        @if older > 0 {
            p.note { (older) " older runs are not shown; the history's file has them." }
        }
    }
}

fn row(run: &Run) -> Markup {
    let verdict = match run.verdict {
        RunVerdict::Regressed | RunVerdict::Grown | RunVerdict::MemoryGrown => "l slower",
        RunVerdict::Improved => "l faster",
        _ => "l",
    };
    let (latency, latency_interval) = formatted(run.latency_ns, format::millis);
    let (change, change_interval) = formatted(run.change, change);
    html! {
        th scope="row" title=(run.label) { (run.title()) }
        td.l { (format::moment(run.unix_s)) }
        (qualified(latency, latency_interval))
        (qualified(change, change_interval))
        td class=(verdict) { (run.verdict.word()) }
        (cell(Some(run.processes.to_string())))
        td.l { (or(&run.baseline, NONE)) }
        td.l title=(run.sha256) { code { (run.sha256.chars().take(8).collect::<String>()) } }
        td.l { (or(&run.runtime, NONE)) }
        (wrapped(or(&run.notes, NONE)))
    }
}
