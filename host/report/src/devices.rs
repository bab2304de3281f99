//! The devices of a run that used several.

use agent_protocol::stats::Interval;

use crate::{DeviceLine, data::ReportData, format, html::Markup, sections};

pub(crate) fn devices(page: &mut Markup, data: &ReportData) {
    if data.evidence.devices.is_empty() {
        return;
    }
    page.element("div", &[("class", "card gap")], |card| {
        let head = [
            "<device",
            "<what it is",
            "candidates",
            "original, ms",
            "original to itself",
            "ratios, of the others\'",
            "shared models",
            "<remark",
        ];
        sections::table(card, "The devices", "dense", &head, |body| {
            for line in &data.evidence.devices {
                body.element("tr", &[], |tr| row(tr, line));
            }
        });
    });
    let note = "Some candidates are measured on a second device, and the original beside itself on every one. Ratios are \
                compared, not times; none is corrected. A device differs when the interval of its ratios over the others\' \
                leaves out 1 and the difference is larger than the half-interval of its measurements.";
    page.line("p", &[("class", "note")], note);
}

fn row(tr: &mut Markup, line: &DeviceLine) {
    tr.line("th", &[("scope", "row"), ("title", &line.name)], &line.name);
    tr.line("td", &[("class", "l wrap")], &line.about);
    sections::cell(tr, Some(format::exact(line.measured)), None);
    let figure = |tr: &mut Markup, value: Option<Interval>, write: fn(f64) -> String| {
        let interval = value.map(|of| format!("{} to {}", write(of.low), write(of.high)));
        sections::cell(tr, value.map(|of| write(of.value)), interval);
    };
    figure(tr, line.reference_ns, format::millis);
    figure(tr, line.itself, format::ratio);
    figure(tr, line.bias, format::ratio);
    sections::cell(tr, Some(format::exact(line.shared)), None);
    let remark = match (&line.set_aside, line.differs) {
        (Some(reason), _) => format!("set aside: {reason}"),
        (None, true) => "differs from the others".to_owned(),
        (None, false) => format::NONE.to_owned(),
    };
    tr.line("td", &[("class", "l wrap")], &remark);
}
