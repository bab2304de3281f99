//! The explanation as a table for the terminal.

use std::fmt::Write as _;

use agent_protocol::stats::Interval;

use super::{Explanation, GroupSaving};
use crate::{format, text::clean};

/// Longest name of a group in the table.
const LETTERS: usize = 44;

/// The explanation for a terminal of fixed-width characters: the largest saving first. Nothing in names can control the terminal.
/// Ends with a newline.
pub fn explanation_text(data: &Explanation) -> String {
    let mut out = String::new();
    let saved = data.saved_ns();
    let _ = writeln!(
        out,
        "{} {} ms, {} {} ms\n{}, {} on {}",
        clean(&data.original),
        format::millis(data.original_ns),
        clean(&data.pruned),
        format::millis(data.pruned_ns),
        ratio(data.ratio),
        if saved < 0.0 {
            format!("{} slower", micros(-saved))
        } else {
            format!("{} saved", micros(saved))
        },
        clean(&data.device),
    );
    let _ = writeln!(
        out,
        "times of operators: medians of {} profiles of each network, taken in turn\n",
        data.passes
    );
    let head = ["group", "channels", "predicted", "saved", "share"].map(str::to_owned);
    let mut lines = vec![(head, Vec::new())];
    lines.extend(data.ranked().into_iter().map(|group| line(group, saved)));
    let none = String::new;
    let sum = |name: &str, ns: f64| {
        let cells = [name.into(), none(), none(), micros(ns), share(ns, saved)];
        (cells, Vec::new())
    };
    lines.extend(data.remainders().map(|(name, ns)| sum(name, ns)));
    lines.push(sum("together", saved));
    table(&mut out, &lines, true);

    let head = ["other operators", "count", "original", "pruned", "saved"];
    let mut lines = vec![(head.map(str::to_owned), Vec::new())];
    lines.extend(data.others.iter().map(|kind| {
        let cells = [
            format::shorten(&clean(&kind.kind), LETTERS),
            counts(kind.count_before, kind.count_after),
            micros(kind.before_ns),
            micros(kind.after_ns),
            micros(kind.saved_ns()),
        ];
        (cells, Vec::new())
    }));
    out.push('\n');
    table(&mut out, &lines, false);
    for note in &data.notes {
        let _ = writeln!(out, "note: {}", clean(note));
    }
    out
}

/// A ratio with its interval: 0.667x (0.662 to 0.672).
pub(super) fn ratio(of: Interval) -> String {
    format!(
        "{}x ({} to {})",
        format::ratio(of.value),
        format::ratio(of.low),
        format::ratio(of.high)
    )
}

/// Cells, and what is said below them.
type Line = ([String; 5], Vec<String>);

fn line(group: &GroupSaving, total: f64) -> Line {
    let saved = format!(
        "{} \u{b1}{}",
        micros(group.saved_ns),
        plain_micros(group.uncertainty_ns)
    );
    let cells = [
        format::shorten(&clean(&group.name), LETTERS),
        counts(group.channels, group.kept),
        group.predicted_ns.map_or_else(|| "-".to_owned(), micros),
        saved,
        share(group.saved_ns, total),
    ];
    let reason = group.reason.iter().map(|why| format!("no gain: {why}"));
    (cells, reason.chain(group.changes.clone()).collect())
}

pub(super) fn counts(before: usize, after: usize) -> String {
    if before == after {
        before.to_string()
    } else {
        format!("{before} \u{2192} {after}")
    }
}

/// Microseconds with their unit.
pub(super) fn micros(ns: f64) -> String {
    format!("{} us", plain_micros(ns))
}

/// Microseconds with a tenth, which is as much as the profile of a runtime tells.
fn plain_micros(ns: f64) -> String {
    // Adding zero turns a negative zero into a positive one.
    format!("{:.1}", (ns / 100.0).round() / 10.0 + 0.0)
}

/// A part of the time saved; nothing where so little was saved that shares say nothing.
pub(super) fn share(part: f64, whole: f64) -> String {
    if whole.abs() < 1.0 {
        return format::NONE.to_owned();
    }
    format!("{:.0} %", 100.0 * part / whole + 0.0)
}

/// Columns side by side: the first to the left, the others to the right. With `sum`, the last line stands below a rule.
fn table(out: &mut String, lines: &[Line], sum: bool) {
    let mut widths = [0; 5];
    for (cells, _) in lines {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let rule = "-".repeat(widths.iter().sum::<usize>() + 2 * (widths.len() - 1));
    for (row, (cells, below)) in lines.iter().enumerate() {
        if row == 1 || (sum && row + 1 == lines.len()) {
            let _ = writeln!(out, "{rule}");
        }
        let mut text = String::new();
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            let pad = " ".repeat(width - cell.chars().count());
            match column {
                0 => text += &format!("{cell}{pad}"),
                _ => text += &format!("  {pad}{cell}"),
            }
        }
        let _ = writeln!(out, "{}", text.trim_end());
        for words in below {
            let _ = writeln!(out, "  {}", clean(words));
        }
    }
}
