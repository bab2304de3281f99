//! The section of the groups: their step edges.

use maud::{Markup, html};

use super::GroupSteps;
use super::figures::widths;
use crate::html::{Figure, Text, cell, or, qualified, row_name, table, wrapped};

pub(super) fn groups(groups: &[GroupSteps]) -> Markup {
    let head = [
        Figure("group"),
        Figure("channels"),
        Figure("admissible widths"),
        Figure("edges"),
        Text("step edges"),
    ];
    let rows = html! { @for group in groups { tr { (row(group)) } } };
    html! {
        div.card {
            @if groups.is_empty() {
                p.none.pad { "The network has no groups of channels." }
            } @else {
                (table("Widths worth having", "tall dense", &head, rows))
            }
        }
    }
}

fn row(group: &GroupSteps) -> Markup {
    let ends = group.widths.iter().min().zip(group.widths.iter().max());
    let range = ends.map(|(low, high)| format!("{low} to {high}"));
    html! {
        (row_name(&group.name))
        (cell(Some(group.channels.to_string())))
        (qualified(Some(group.widths.len().to_string()), range))
        (cell(Some(group.edges.len().to_string())))
        (wrapped(or(&widths(&group.edges), "none found")))
    }
}
