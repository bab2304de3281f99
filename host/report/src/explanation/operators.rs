//! The table of the operators that are not layers.

use maud::{Markup, html};

use super::text::counts;
use super::{Explanation, OtherOperators};
use crate::format::micros;
use crate::html::{Figure, cell, row_name, table};

pub(super) fn others(data: &Explanation) -> Markup {
    let head = ["operator", "count", "original", "pruned", "saved"].map(Figure);
    let rows = html! { @for kind in &data.others { tr { (row(kind)) } } };
    html! { div.card { (table("Other operators by kind", "dense", &head, rows)) } }
}

fn row(kind: &OtherOperators) -> Markup {
    html! {
        (row_name(&kind.kind))
        (cell(Some(counts(kind.count_before, kind.count_after))))
        @for ns in [kind.before_ns, kind.after_ns, kind.saved_ns()] { (cell(Some(micros(ns)))) }
    }
}
