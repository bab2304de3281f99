//! The table of all candidates.

use maud::{Markup, html};

use crate::data::{Candidate, Metric, ReportData};
use crate::format::{self, NONE};
use crate::html::{Figure, Text, none, table};

/// The most candidates that are listed; the run's database has all of them.
const MOST: usize = 2000;

pub(super) fn candidates(data: &ReportData) -> Markup {
    let all = &data.candidates;
    if all.is_empty() {
        return Markup::default();
    }
    let head = [
        Figure("episode"),
        Text("strategy"),
        Figure(&data.header.estimate.name),
        Figure("latency ratio (95 %)"),
        Figure("predicted"),
        Figure("MACs"),
        Figure("reward"),
        Figure("after short fine-tuning"),
        Figure("within budget"),
        Text("device"),
        Text("kept channels per group"),
    ];
    let rows = html! {
        @for candidate in all.iter().take(MOST) { tr { (row(candidate, &data.header.score)) } }
    };
    html! {
        details {
            summary { "All " (all.len()) " candidates" }
            (table("All candidates", "tall dense", &head, rows))
            @if all.len() > MOST {
                (none(&format!("The first {MOST}; the run's database has the rest.")))
            }
        }
    }
}

fn row(candidate: &Candidate, score: &Metric) -> Markup {
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let widths: Vec<String> = candidate.widths.iter().map(usize::to_string).collect();
    let within = match (candidate.screened, candidate.feasible) {
        (true, _) => "not measured",
        (false, true) => "yes",
        (false, false) => "no",
    };
    html! {
        td { (candidate.episode) }
        td.l { (candidate.strategy) }
        td { (format::percent(candidate.accuracy)) }
        td { (or_none(candidate.latency_ratio.map(format::ratio_with_interval))) }
        td { (or_none(candidate.predicted_ratio.map(format::ratio))) }
        td { (format::exact(candidate.macs)) }
        td { (format::significant(candidate.reward, 5)) }
        td { (or_none(candidate.halving_accuracy.map(|value| score.write(value)))) }
        td { (within) }
        td.l { (candidate.device.as_deref().unwrap_or(NONE)) }
        td.l { (widths.join(" ")) }
    }
}
