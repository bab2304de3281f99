//! The head of the history's page: facts and the verdict of the newest runs.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{HistoryData, Run, RunVerdict, Series};
use crate::format;
use crate::html::{Tone, facts, verdict};

pub(super) fn header(data: &HistoryData) -> Markup {
    html! {
        h1 { "Latency on hardware" }
        (facts(overview(data)))
        (outcome(data))
    }
}

fn overview(data: &HistoryData) -> impl Iterator<Item = (&'static str, String)> {
    let distinct = |of: fn(&Series) -> &str| {
        let all: BTreeSet<&str> = data.series.iter().map(of).collect();
        all.len().to_string()
    };
    let runs = || data.series.iter().flat_map(|series| &series.runs);
    let times = || runs().map(|run| run.unix_s);
    let facts = [
        ("devices", Some(distinct(|series| &series.device_id))),
        ("models", Some(distinct(|series| &series.model))),
        ("measurements", Some(runs().count().to_string())),
        ("from", times().min().map(format::moment)),
        ("to", times().max().map(format::moment)),
    ];
    facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
}

/// The verdict over the newest run of each series.
fn outcome(data: &HistoryData) -> Markup {
    let newest: Vec<&Run> = data.series.iter().filter_map(|s| s.runs.last()).collect();
    let total = newest.len();
    let count = |verdicts: &[RunVerdict]| {
        let matching = newest.iter().filter(|run| verdicts.contains(&run.verdict));
        matching.count()
    };
    let slower = count(&[RunVerdict::Regressed]);
    let grown = count(&[RunVerdict::Grown, RunVerdict::MemoryGrown]);
    let unclear = count(&[
        RunVerdict::Undecided,
        RunVerdict::Unmeasured,
        RunVerdict::Uncompared,
    ]);
    if total == 0 {
        let why = "The history is empty: nothing was measured yet.";
        verdict(Tone::Neutral, "Nothing measured", why)
    } else if slower > 0 {
        let why =
            format!("In the newest run of each model, {slower} of {total} is slower than allowed.");
        verdict(Tone::Bad, "Slower", &why)
    } else if grown > 0 {
        let why = format!(
            "In the newest run of each model, {grown} of {total} has a file or a peak memory that grew by more than is allowed."
        );
        verdict(Tone::Bad, "Larger", &why)
    } else if unclear > 0 {
        let why =
            format!("In the newest run of each model, {unclear} of {total} could not be judged.");
        verdict(Tone::Neutral, "Not sure", &why)
    } else if count(&[RunVerdict::NoBaseline]) == total {
        let why = "The newest runs were not compared with a baseline.";
        verdict(Tone::Neutral, "Measured", why)
    } else {
        let why = "No model is slower than allowed in its newest run.";
        verdict(Tone::Good, "Fine", why)
    }
}
