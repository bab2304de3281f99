//! Formatting of the page's figures.

use crate::format::{self, NONE};

/// The most widths in a hover text.
const MOST: usize = 32;

/// Whether a figure can be drawn; larger ones would make the scales overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() < 1e18
}

/// A difference of times in microseconds, with its sign.
pub(super) fn signed_micros(ns: f64) -> String {
    let sign = if ns < 0.0 { "\u{2212}" } else { "+" };
    format!("{sign}{}", format::micros(ns.abs()))
}

/// A relative error in percent, with one decimal.
pub(super) fn error(value: f64) -> String {
    if value.is_finite() {
        format!("{:.1} %", value * 100.0)
    } else {
        NONE.to_owned()
    }
}

/// Widths separated by spaces.
pub(super) fn widths(widths: &[usize]) -> String {
    let texts: Vec<String> = widths.iter().map(usize::to_string).collect();
    texts.join(" ")
}

/// Widths in a hover text, which lists at most [`MOST`].
pub(super) fn first_widths(all: &[usize]) -> String {
    match all.get(..MOST) {
        Some(first) if all.len() > MOST => {
            format!("{} \u{2026} ({} groups)", widths(first), all.len())
        }
        _ => widths(all),
    }
}
