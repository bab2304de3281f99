//! The explanation as tables for the terminal.

use std::fmt::Write as _;

use agent_protocol::stats::Interval;

use super::{Explanation, GroupSaving};
use crate::format::{self, micros, single_line};
use crate::table::{Style, lines};

/// Longest name in a table.
const LETTERS: usize = 44;

/// Renders an explanation as tables for a terminal with a fixed-width font, the largest saving
/// first. Names cannot control the terminal. Ends with a newline.
pub fn explanation_text(data: &Explanation) -> String {
    let mut out = summary(data);
    out.push('\n');
    groups(&mut out, data);
    out.push('\n');
    others(&mut out, data);
    // Writing to a string does not fail.
    for note in &data.notes {
        let _ = writeln!(out, "note: {}", single_line(note));
    }
    out
}

fn summary(data: &Explanation) -> String {
    let saved = data.saved_ns();
    let saved = if saved < 0.0 {
        format!("{} slower", micros(-saved))
    } else {
        format!("{} saved", micros(saved))
    };
    format!(
        "{} {} ms, {} {} ms\n{}, {saved} on {}\n\
         times of operators: medians of {} profiles of each network, taken in turn\n",
        single_line(&data.original),
        format::millis(data.original_ns),
        single_line(&data.pruned),
        format::millis(data.pruned_ns),
        ratio(data.ratio),
        single_line(&data.device),
        data.passes
    )
}

/// The groups, each followed by its remarks, then the remainder and, below a rule, the sum.
fn groups(out: &mut String, data: &Explanation) {
    let saved = data.saved_ns();
    let groups = data.ranked();
    let mut rows: Vec<[String; 5]> = groups.iter().map(|group| row(group, saved)).collect();
    let sums = data.remainders().into_iter().chain([("together", saved)]);
    rows.extend(sums.map(|(name, ns)| {
        let none = String::new;
        [name.into(), none(), none(), micros(ns), share(ns, saved)]
    }));
    let head = ["group", "channels", "predicted", "saved", "share"];
    let mut lines = lines(head, rows, Style::Figures);
    let sum = lines.pop();
    for (index, line) in lines.iter().enumerate() {
        let _ = writeln!(out, "{line}");
        let group = index.checked_sub(2).and_then(|index| groups.get(index));
        for remark in group.into_iter().flat_map(|group| remarks(group)) {
            let _ = writeln!(out, "  {}", single_line(&remark));
        }
    }
    for line in lines.get(1).into_iter().chain(&sum) {
        let _ = writeln!(out, "{line}");
    }
}

fn row(group: &GroupSaving, total: f64) -> [String; 5] {
    let uncertainty = format::micros_number(group.uncertainty_ns);
    [
        format::shorten(&single_line(&group.name), LETTERS),
        counts(group.channels, group.kept),
        group.predicted_ns.map_or_else(|| "-".to_owned(), micros),
        format!("{} \u{b1}{uncertainty}", micros(group.saved_ns)),
        share(group.saved_ns, total),
    ]
}

fn remarks(group: &GroupSaving) -> impl Iterator<Item = String> {
    let reason = group.reason.iter().map(|why| format!("no gain: {why}"));
    reason.chain(group.changes.iter().cloned())
}

fn others(out: &mut String, data: &Explanation) {
    let rows = data.others.iter().map(|kind| {
        [
            format::shorten(&single_line(&kind.kind), LETTERS),
            counts(kind.count_before, kind.count_after),
            micros(kind.before_ns),
            micros(kind.after_ns),
            micros(kind.saved_ns()),
        ]
    });
    let head = ["other operators", "count", "original", "pruned", "saved"];
    for line in lines(head, rows.collect(), Style::Figures) {
        let _ = writeln!(out, "{line}");
    }
}

/// A ratio with its interval: "0.667x (0.662 to 0.672)".
pub(super) fn ratio(ratio: Interval) -> String {
    let ends = format::range(ratio.low, ratio.high, format::ratio);
    format!("{}x ({ends})", format::ratio(ratio.value))
}

/// A number before and after: "64 → 32", or "64" if it is unchanged.
pub(super) fn counts(before: usize, after: usize) -> String {
    if before == after {
        before.to_string()
    } else {
        format!("{before} \u{2192} {after}")
    }
}

/// A part of the saved time in percent; [`format::NONE`] if less than a nanosecond was saved.
pub(super) fn share(part: f64, whole: f64) -> String {
    if whole.abs() < 1.0 {
        return format::NONE.to_owned();
    }
    format!("{:.0} %", 100.0 * part / whole + 0.0)
}
