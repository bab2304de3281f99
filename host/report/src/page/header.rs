//! The head of the page: facts, verdict, the result in four figures, warnings.

use maud::{Markup, html};

use crate::data::{ReportData, Role, Row, Verdict};
use crate::format;
use crate::html::{Tile, Tone, facts, or, tiles, verdict, warnings};

pub(super) fn model(data: &ReportData) -> &str {
    or(&data.header.model, "unnamed model")
}

pub(super) fn device(data: &ReportData) -> &str {
    or(&data.header.device, "unnamed device")
}

pub(super) fn header(data: &ReportData) -> Markup {
    let command = &data.header.command;
    html! {
        h1 { (model(data)) span.to { " pruned for " } (device(data)) }
        (facts(settings(data)))
        @if !command.is_empty() {
            p.command { code { (command) } }
        }
        (outcome(&data.verdict))
        @if let Some(figures) = figures(data) { (tiles(&figures)) }
        (warnings(&data.warnings))
    }
}

fn settings(data: &ReportData) -> impl Iterator<Item = (&'static str, String)> {
    let header = &data.header;
    let text = |text: &String| (!text.is_empty()).then(|| text.clone());
    let facts = [
        ("budget", budget(data)),
        ("data", text(&header.data)),
        ("input", text(&header.input)),
        ("task", text(&header.task)),
        ("strategy", text(&header.strategy)),
        ("started", header.started_unix_s.map(format::moment)),
        ("took", header.duration_s.map(format::duration)),
        ("seed", header.seed.map(|seed| seed.to_string())),
    ];
    let given = |(name, value): (_, Option<String>)| Some((name, value?));
    facts.into_iter().filter_map(given)
}

fn budget(data: &ReportData) -> Option<String> {
    let budget = &data.budget;
    // A share that follows from a time is not what was asked for.
    let ratio = budget.latency_ratio.filter(|_| budget.latency_ns.is_none());
    let time = budget
        .latency_ns
        .map(|ns| format!("latency \u{2264} {} ms", ns / 1e6));
    let shares = [("latency", ratio), ("MACs", budget.macs_ratio)];
    let shares = shares.into_iter();
    let shares =
        shares.filter_map(|(name, ratio)| Some(format!("{name} \u{2264} {}\u{d7}", ratio?)));
    let memory = [
        ("RAM", data.budget.ram_bytes),
        ("flash", data.budget.flash_bytes),
    ];
    let memory = memory
        .into_iter()
        .filter_map(|(name, bytes)| Some(format!("{name} \u{2264} {}", format::bytes(bytes?))));
    let limits: Vec<String> = time.into_iter().chain(shares).chain(memory).collect();
    (!limits.is_empty()).then(|| limits.join(", "))
}

fn outcome(outcome: &Verdict) -> Markup {
    match outcome {
        Verdict::Unfinished => verdict(
            Tone::Neutral,
            "Not finished",
            "The run has not finished; this page shows its results so far.",
        ),
        Verdict::Met(why) => verdict(Tone::Good, "Budget met", why),
        Verdict::NotMet(why) => verdict(Tone::Bad, "Budget not met", why),
    }
}

/// The pruned network in figures; `None` without a result.
fn figures(data: &ReportData) -> Option<Vec<Tile<'static>>> {
    let (original, pruned) = (data.row(Role::Original)?, data.row(Role::Pruned)?);
    let latency = match data.stand_in() {
        Some(_) => time(pruned),
        None => latency(pruned),
    };
    let mut tiles: Vec<Tile<'static>> = latency.into_iter().collect();
    if let Some(accuracy) = pruned.test_accuracy {
        let before = original.test_accuracy;
        let metric = &data.header.score;
        let change = before.map(|before| metric.change(accuracy - before));
        let title = match &metric.name[..] {
            "accuracy" => "Test accuracy",
            "fidelity" => "Test fidelity",
            "mean IoU" => "Test mean IoU",
            _ => "Test score",
        };
        let interval = pruned.test_range(metric).map(|ends| format!("95 % {ends}"));
        let change = change.map(|change| format!("{change} from the original"));
        let small: Vec<String> = interval.into_iter().chain(change).collect();
        tiles.push((title, metric.write(accuracy), small.join("; ")));
    }
    let short: fn(u64) -> String = format::short;
    let counts = [
        ("MACs", original.macs, pruned.macs, short),
        ("Parameters", original.parameters, pruned.parameters, short),
        ("File size", original.bytes, pruned.bytes, format::bytes),
    ];
    for (name, before, after, write) in counts {
        if let (Some(before), Some(after)) = (before.filter(|&b| b > 0), after) {
            let change = format::change(after as f64 / before as f64);
            let small = format!("{} from {}", write(after), write(before));
            tiles.push((name, change, small));
        }
    }
    Some(tiles)
}

fn latency(pruned: &Row) -> Option<Tile<'static>> {
    let latency = pruned.latency.as_ref()?;
    let ratio = format!("{}\u{d7}", format::ratio(latency.ratio?));
    let interval = match (latency.ratio_low, latency.ratio_high) {
        (Some(low), Some(high)) => format!("95 % {}", format::range(low, high, format::ratio)),
        _ => "no interval".to_owned(),
    };
    Some(("Latency, relative to the original", ratio, interval))
}

/// The latency itself, where there is none of the original.
fn time(pruned: &Row) -> Option<Tile<'static>> {
    let latency = pruned.latency.as_ref()?;
    let interval = format::range(latency.low_ns, latency.high_ns, format::millis);
    let time = format!("{} ms", format::millis(latency.median_ns));
    let small = format!("95 % {interval}; the original does not fit");
    Some(("Latency", time, small))
}
