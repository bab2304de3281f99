//! The table of the groups.

use maud::{Markup, html};

use super::text::{counts, share};
use super::{Explanation, GroupSaving};
use crate::format::micros;
use crate::html::{Figure, Text, cell, qualified, row_name, table};

pub(super) fn groups(data: &Explanation) -> Markup {
    let saved = data.saved_ns();
    let head = [
        Figure("group"),
        Figure("channels"),
        Figure("time"),
        Figure("predicted"),
        Figure("saved"),
        Figure("share"),
        Text("reason for no saving, and changes"),
    ];
    let sums = data.remainders().into_iter().chain([("together", saved)]);
    let rows = html! {
        @for group in data.ranked() { tr { (row(group, saved)) } }
        @for (name, ns) in sums {
            tr {
                (row_name(name))
                @for _ in 0..3 { td {} }
                (cell(Some(micros(ns))))
                (cell(Some(share(ns, saved))))
                td {}
            }
        }
    };
    html! { div.card.gap { (table("Time saved per group", "dense", &head, rows)) } }
}

fn row(group: &GroupSaving, saved: f64) -> Markup {
    let narrowed = group.kept < group.channels;
    let uncertainty = format!("\u{b1}{}", micros(group.uncertainty_ns));
    html! {
        (row_name(&group.name))
        (cell(Some(counts(group.channels, group.kept))))
        (cell(narrowed.then(|| micros(group.before_ns))))
        (cell(group.predicted_ns.map(micros)))
        (qualified(Some(micros(group.saved_ns)), Some(uncertainty)))
        (cell(Some(share(group.saved_ns, saved))))
        td.l.wrap {
            (group.reason.as_deref().unwrap_or_default())
            @for change in &group.changes { small { (change) } }
        }
    }
}
