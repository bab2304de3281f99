//! The device's facts and the measurements behind the figures.

use maud::{Markup, html};

use super::header::device;
use crate::data::{Evidence, MeasurementLine, ReportData};
use crate::format::{self, NONE};
use crate::html::{Figure, Text, cell, none, or, qualified, row_name, table, wrapped};

pub(super) fn evidence(data: &ReportData) -> Markup {
    let evidence = &data.evidence;
    html! {
        div.card.text {
            dl.pairs {
                @for (name, value) in pairs(device(data), evidence) {
                    div {
                        dt { (name) }
                        dd { (value) }
                    }
                }
            }
            @if !evidence.notes.is_empty() {
                ul.notes {
                    @for note in &evidence.notes { li { (note) } }
                }
            }
        }
        div.card.gap {
            @if evidence.measurements.is_empty() {
                (none("Not measured."))
            } @else {
                (measurements(&evidence.measurements))
            }
        }
        p.note { "Invalid measurements are excluded from rewards, tables and baselines." }
    }
}

fn pairs<'a>(device: &str, evidence: &'a Evidence) -> Vec<(&'a str, String)> {
    let mut pairs = vec![("Device", device.to_owned())];
    let facts = evidence.facts.iter();
    pairs.extend(facts.map(|fact| (fact.name.as_str(), fact.value.clone())));
    let providers = evidence.providers.iter();
    let providers = providers.map(|p| format!("{}: {} nodes", p.name, p.nodes));
    let providers: Vec<String> = providers.collect();
    if !providers.is_empty() {
        pairs.push(("Where the nodes ran", providers.join(", ")));
    }
    if let Some(reference) = &evidence.reference {
        pairs.push(("Measured interleaved with", reference.clone()));
    }
    let counts = format!("{} valid, {} invalid", evidence.valid, evidence.invalid);
    pairs.push(("Measurements", counts));
    pairs
}

fn measurements(lines: &[MeasurementLine]) -> Markup {
    let head = [
        Figure("measured"),
        Text("verdict"),
        Figure("median, ms"),
        Figure("samples"),
        Figure("warm-up"),
        Figure("peak memory"),
        Text("device before"),
        Text("device after"),
        Figure("when"),
    ];
    let rows = html! {
        @for line in lines {
            tr class=[line.invalid.as_ref().map(|_| "invalid")] { (measurement(line)) }
        }
    };
    table("Measurements", "tall dense", &head, rows)
}

fn measurement(line: &MeasurementLine) -> Markup {
    let interval = line.interval_ns;
    let interval = interval.map(|(low, high)| format::range(low, high, format::millis));
    html! {
        (row_name(&line.name))
        @match &line.invalid {
            None => { td.l { "valid" } }
            Some(reason) => { (wrapped(&format!("invalid: {reason}"))) }
        }
        (qualified(line.median_ns.map(format::millis), interval))
        (cell(Some(format::exact(line.samples))))
        (cell(Some(format::exact(line.warmup))))
        (cell(line.peak_memory_bytes.map(format::bytes)))
        (wrapped(or(&line.before, NONE)))
        (wrapped(or(&line.after, NONE)))
        (cell(line.taken_unix_s.map(format::moment)))
    }
}
