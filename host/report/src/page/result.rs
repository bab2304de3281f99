//! The table of the compared networks.

use maud::{Markup, html};

use crate::data::{DOES_NOT_FIT, LatencyFigure, Metric, ReportData, Role, Row};
use crate::format;
use crate::html::{Figure, annotated, cell, none, qualified, row_name, table};

pub(super) fn result(data: &ReportData) -> Markup {
    html! {
        div.card {
            @if data.rows.is_empty() {
                (none("Not run: no network was compared."))
            } @else {
                (networks(data))
            }
        }
        p.note {
            "Latencies are medians with their 95 % intervals; ratios are relative to "
            (data.stand_in().unwrap_or("the original"))
            ", measured interleaved with it. The test split"
            @if let Some(images) = data.test_images() { ", " (format::exact(images)) " samples," }
            " is read once, at the end; the search uses only the search split."
        }
    }
}

fn networks(data: &ReportData) -> Markup {
    let score = &data.header.score;
    let (tested, searched) = (
        format!("test {}", score.name),
        format!("search {}", score.name),
    );
    let head = [
        "network",
        &tested[..],
        &searched[..],
        "latency, ms",
        "latency ratio",
        "MACs",
        "parameters",
        "file size",
    ]
    .map(Figure);
    let simulated = data.is_simulated();
    let mut head = head.to_vec();
    head.extend(simulated.then_some(Figure("simulated")));
    let rows = html! {
        @for row in &data.rows {
            tr class=[(row.role == Role::Pruned).then_some("pruned")] {
                (network(row, data.row(Role::Original), score))
                @if simulated { (origin(row.latency.as_ref())) }
            }
            @for check in &row.checks { tr {
                (other_device(check))
                @if simulated { (origin(Some(check))) }
            } }
        }
    };
    table("The networks compared", "", &head, rows)
}

fn network(row: &Row, original: Option<&Row>, score: &Metric) -> Markup {
    let original = original.filter(|_| row.role != Role::Original);
    // A difference says what from: beside intervals it would look like one.
    let accuracy = |of: fn(&Row) -> Option<f64>, interval: Option<String>| {
        let change = of(row).zip(original.and_then(of));
        let change = change.map(|(now, before)| {
            let change = score.change(now - before);
            format!("{change} from the original")
        });
        let small = interval.into_iter().chain(change);
        annotated(of(row).map(|value| score.write(value)), small)
    };
    let count = |value: Option<u64>, write: fn(u64) -> String| {
        qualified(value.map(write), value.map(format::exact))
    };
    let device = row.latency.as_ref().map_or("", |latency| &latency.device);
    html! {
        th scope="row" title=(row.label) {
            (row.label)
            @if !device.is_empty() { small { "on " (device) } }
            @for figure in &row.figures {
                small { (figure.name) " " (format::percent(figure.value)) " " }
            }
        }
        (accuracy(|row| row.test_accuracy, row.test_range(score)))
        (accuracy(|row| row.search_accuracy, None))
        @if row.does_not_fit {
            (cell(Some(DOES_NOT_FIT.to_owned())))
            (cell(None))
        } @else {
            (latency(row.latency.as_ref(), row.role == Role::Original))
        }
        (count(row.macs, format::short))
        (count(row.parameters, format::short))
        (count(row.bytes, format::bytes))
    }
}

/// Latency and ratio, each with its interval.
fn latency(latency: Option<&LatencyFigure>, is_original: bool) -> Markup {
    let median = latency.map(|l| format::millis(l.median_ns));
    let interval = latency.map(|l| format::range(l.low_ns, l.high_ns, format::millis));
    let ratio = latency.and_then(|l| l.ratio).map(format::ratio);
    let ends = latency.and_then(|l| l.ratio_low.zip(l.ratio_high));
    let ends = ends.map(|(low, high)| format::range(low, high, format::ratio));
    let reference = (is_original && ratio.is_none()).then(|| "reference".to_owned());
    html! {
        (qualified(median, interval))
        (qualified(ratio, ends.or(reference)))
    }
}

/// Whether the latency is one, or a count of an emulator's instructions.
fn origin(latency: Option<&LatencyFigure>) -> Markup {
    cell(latency.map(|of| if of.simulated { "yes" } else { "no" }.to_owned()))
}

/// The same network on another device, which only has a latency.
fn other_device(check: &LatencyFigure) -> Markup {
    html! {
        (row_name(&format!("check on {}", check.device)))
        @for _ in 0..2 { (cell(None)) }
        (latency(Some(check), false))
        @for _ in 0..3 { (cell(None)) }
    }
}
