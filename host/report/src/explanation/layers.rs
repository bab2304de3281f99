//! The table of the layers.

use maud::{Markup, html};

use super::text::counts;
use super::{Explanation, LayerChange, LayerRun};
use crate::format::micros;
use crate::html::{Figure, Text, cell, row_name, table};

pub(super) fn layers(data: &Explanation) -> Markup {
    let head = [
        Figure("layer"),
        Figure("input channels"),
        Figure("output channels"),
        Figure("original"),
        Figure("pruned"),
        Figure("saved"),
        Figure("isolated, original"),
        Figure("isolated, pruned"),
        Text("kernel and provider"),
    ];
    let rows = html! { @for layer in &data.layers { tr { (row(layer)) } } };
    html! { div.card { (table("Layers", "tall dense", &head, rows)) } }
}

fn row(layer: &LayerChange) -> Markup {
    let (before, after) = (&layer.before, &layer.after);
    let saved = before
        .ns
        .zip(after.ns)
        .map(|(before, after)| before - after);
    let times = [
        before.ns,
        after.ns,
        saved,
        before.predicted_ns,
        after.predicted_ns,
    ];
    html! {
        (row_name(&layer.name))
        (cell(Some(counts(before.inputs, after.inputs))))
        (cell(Some(counts(before.outputs, after.outputs))))
        @for ns in times { (cell(ns.map(micros))) }
        td.l { (kernels(before, after)) }
    }
}

fn kernels(before: &LayerRun, after: &LayerRun) -> String {
    let [before, after] = [before, after].map(|run| match run.kernel.as_str() {
        "" => "not run".to_owned(),
        kernel => format!("{kernel} on {}", run.provider),
    });
    if before == after {
        before
    } else {
        format!("{before} \u{2192} {after}")
    }
}
