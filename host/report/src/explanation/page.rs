//! The explanation as a page of its own.

use super::text::{counts, micros, ratio, share};
use super::{Explanation, GroupSaving, LayerChange, LayerRun, chart::savings};
use crate::{
    format,
    html::Markup,
    page::{document, figure, section},
    sections::{self, cell, table},
};

/// The explanation as one HTML file that opens offline.
pub fn render_explanation(data: &Explanation) -> String {
    document(
        &format!("{} explained", data.pruned),
        |header| head(header, data),
        |main| {
            section(main, "groups", "Groups", |s| {
                figure(
                    s,
                    savings(data),
                    "Time saved per group",
                    "The network has no groups of channels.",
                );
                groups(s, data);
            });
            section(main, "others", "Operators that are no layers", |s| {
                others(s, data);
            });
            section(main, "layers", "Layers", |s| layers(s, data));
        },
        |footer| sections::footer(footer, &data.program),
    )
}

fn head(header: &mut Markup, data: &Explanation) {
    header.element("h1", &[], |h1| {
        h1.text(&data.pruned);
        h1.line("span", &[("class", "to")], " against ");
        h1.text(&data.original);
    });
    header.element("ul", &[("class", "facts")], |list| {
        let facts = [
            ("device", data.device.clone()),
            ("profiles of each network", data.passes.to_string()),
        ];
        for (name, value) in facts {
            list.element("li", &[], |item| {
                item.text(&format!("{name} "));
                item.line("b", &[], &value);
            });
        }
    });
    let saved = data.saved_ns();
    // Slower or faster as far as the interval tells.
    let (class, word) = match data.ratio {
        of if of.low > 1.0 => ("verdict missed", "Slower"),
        of if of.high < 1.0 => ("verdict met", "Faster"),
        _ => ("verdict", "As fast"),
    };
    let why = format!(
        "{} of the original's latency, {} ms instead of {} ms, {} {}",
        ratio(data.ratio),
        format::millis(data.pruned_ns),
        format::millis(data.original_ns),
        micros(saved.abs()),
        if saved < 0.0 { "more" } else { "less" }
    );
    header.element("div", &[("class", class)], |verdict| {
        verdict.line("b", &[], word);
        verdict.line("span", &[], &why);
    });
    if !data.notes.is_empty() {
        header.element("ul", &[("class", "notes"), ("aria-label", "Notes")], |l| {
            data.notes.iter().for_each(|note| l.line("li", &[], note));
        });
    }
}

fn name(tr: &mut Markup, name: &str) {
    tr.line("th", &[("scope", "row"), ("title", name)], name);
}

fn groups(page: &mut Markup, data: &Explanation) {
    let saved = data.saved_ns();
    page.element("div", &[("class", "card gap")], |card| {
        let head = [
            "group",
            "channels",
            "its time",
            "predicted",
            "saved",
            "share",
            "<why, where nothing was gained, and what changed",
        ];
        table(card, "Time saved per group", "dense", &head, |body| {
            for group in data.ranked() {
                body.element("tr", &[], |tr| group_row(tr, group, saved));
            }
            let rest = data.remainders();
            for (what, ns) in rest.into_iter().chain([("together", saved)]) {
                body.element("tr", &[], |tr| {
                    name(tr, what);
                    (0..3).for_each(|_| tr.line("td", &[], ""));
                    cell(tr, Some(micros(ns)), None);
                    cell(tr, Some(share(ns, saved)), None);
                    tr.line("td", &[], "");
                });
            }
        });
    });
}

fn group_row(tr: &mut Markup, group: &GroupSaving, saved: f64) {
    name(tr, &group.name);
    cell(tr, Some(counts(group.channels, group.kept)), None);
    let narrowed = group.kept < group.channels;
    cell(tr, narrowed.then(|| micros(group.before_ns)), None);
    cell(tr, group.predicted_ns.map(micros), None);
    let uncertainty = format!("\u{b1}{}", micros(group.uncertainty_ns));
    cell(tr, Some(micros(group.saved_ns)), Some(uncertainty));
    cell(tr, Some(share(group.saved_ns, saved)), None);
    tr.element("td", &[("class", "l wrap")], |td| {
        td.text(group.reason.as_deref().unwrap_or_default());
        for change in &group.changes {
            td.line("small", &[], change);
        }
    });
}

fn others(page: &mut Markup, data: &Explanation) {
    page.element("div", &[("class", "card")], |card| {
        let head = ["operator", "count", "original", "pruned", "saved"];
        table(card, "Other operators by kind", "dense", &head, |body| {
            for kind in &data.others {
                body.element("tr", &[], |tr| {
                    name(tr, &kind.kind);
                    cell(tr, Some(counts(kind.count_before, kind.count_after)), None);
                    for ns in [kind.before_ns, kind.after_ns, kind.saved_ns()] {
                        cell(tr, Some(micros(ns)), None);
                    }
                });
            }
        });
    });
}

fn layers(page: &mut Markup, data: &Explanation) {
    page.element("div", &[("class", "card")], |card| {
        let head = [
            "layer",
            "channels read",
            "channels made",
            "original",
            "pruned",
            "saved",
            "alone, original",
            "alone, pruned",
            "<kernel and place",
        ];
        table(card, "Layers", "tall dense", &head, |body| {
            for layer in &data.layers {
                body.element("tr", &[], |tr| layer_row(tr, layer));
            }
        });
    });
}

fn layer_row(tr: &mut Markup, layer: &LayerChange) {
    let (before, after) = (&layer.before, &layer.after);
    name(tr, &layer.name);
    cell(tr, Some(counts(before.inputs, after.inputs)), None);
    cell(tr, Some(counts(before.outputs, after.outputs)), None);
    let saved = before.ns.zip(after.ns).map(|(b, a)| b - a);
    for ns in [
        before.ns,
        after.ns,
        saved,
        before.predicted_ns,
        after.predicted_ns,
    ] {
        cell(tr, ns.map(micros), None);
    }
    let ran = |run: &LayerRun| match run.kernel.as_str() {
        "" => "not run".to_owned(),
        kernel => format!("{kernel} on {}", run.provider),
    };
    let text = match (ran(before), ran(after)) {
        (before, after) if before == after => before,
        (before, after) => format!("{before} \u{2192} {after}"),
    };
    tr.line("td", &[("class", "l")], &text);
}
