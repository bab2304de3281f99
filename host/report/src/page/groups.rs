//! The table of the channel groups.

use maud::{Markup, html};

use crate::data::{Group, ReportData};
use crate::format;
use crate::html::{Figure, cell, row_name, table};

pub(super) fn groups(data: &ReportData) -> Markup {
    let head = ["group", "original", "kept", "share"].map(Figure);
    let rows = html! { @for group in &data.groups { tr { (row(group)) } } };
    html! {
        @if !data.groups.is_empty() {
            details {
                summary { "The groups as a table" }
                (table("Channels per group", "tall dense", &head, rows))
            }
        }
    }
}

fn row(group: &Group) -> Markup {
    let share = || format::percent(group.kept as f64 / group.channels as f64);
    html! {
        (row_name(&group.name))
        (cell(Some(group.channels.to_string())))
        (cell(Some(group.kept.to_string())))
        (cell((group.channels > 0).then(share)))
    }
}
