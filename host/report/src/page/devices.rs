//! The devices of a run that used several.

use agent_protocol::stats::Interval;
use maud::{Markup, html};

use crate::data::{DeviceLine, ReportData};
use crate::format::{self, NONE};
use crate::html::{Figure, Text, cell, qualified, row_name, table, wrapped};

pub(super) fn devices(data: &ReportData) -> Markup {
    let devices = &data.evidence.devices;
    let head = [
        Text("device"),
        Text("description"),
        Figure("candidates"),
        Figure("original, ms"),
        Figure("original to itself"),
        Figure("ratios, relative to the others"),
        Figure("shared models"),
        Text("remark"),
    ];
    let rows = html! { @for line in devices { tr { (row(line)) } } };
    html! {
        @if !devices.is_empty() {
            div.card.gap { (table("The devices", "dense", &head, rows)) }
            p.note {
                "Some candidates are also measured on a second device, and the original against \
                 itself on every device. The comparison is between ratios, not times, and no ratio \
                 is corrected. A device differs if the interval of its ratios relative to the others \
                 excludes 1 and the difference exceeds the half-interval of its measurements."
            }
        }
    }
}

fn row(line: &DeviceLine) -> Markup {
    let figure = |value: Option<Interval>, write: fn(f64) -> String| {
        let ends = value.map(|of| format::range(of.low, of.high, write));
        qualified(value.map(|of| write(of.value)), ends)
    };
    let remark = match (&line.set_aside, line.differs) {
        (Some(reason), _) => format!("set aside: {reason}"),
        (None, true) => "differs from the others".to_owned(),
        (None, false) => NONE.to_owned(),
    };
    html! {
        (row_name(&line.name))
        (wrapped(&line.about))
        (cell(Some(format::exact(line.measured))))
        (figure(line.reference_ns, format::millis))
        (figure(line.itself, format::ratio))
        (figure(line.bias, format::ratio))
        (cell(Some(format::exact(line.shared))))
        (wrapped(&remark))
    }
}
