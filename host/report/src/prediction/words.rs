//! Figures of the page as people read them.

use crate::format::{NONE, significant};

/// The most widths that a hover text lists.
const MOST: usize = 32;

/// Whether a figure has a place in a chart; what is beyond any latency would make scales overflow.
pub(super) fn drawable(value: f64) -> bool {
    value.abs() < 1e18
}

/// Microseconds with their unit.
pub(super) fn micros(ns: f64) -> String {
    if ns.is_finite() {
        // Adding zero turns a negative zero into a positive one.
        format!("{:.1} us", (ns / 100.0).round() / 10.0 + 0.0)
    } else {
        NONE.to_owned()
    }
}

/// A difference of times.
pub(super) fn signed(ns: f64) -> String {
    let sign = if ns < 0.0 { "\u{2212}" } else { "+" };
    format!("{sign}{}", micros(ns.abs()))
}

/// An error as percent with one decimal.
pub(super) fn error(value: f64) -> String {
    if value.is_finite() {
        format!("{:.1} %", value * 100.0)
    } else {
        NONE.to_owned()
    }
}

/// A correlation.
pub(super) fn correlation(value: f64) -> String {
    significant(value, 3)
}

/// Widths side by side.
pub(super) fn list(widths: &[usize]) -> String {
    let words: Vec<String> = widths.iter().map(usize::to_string).collect();
    words.join(" ")
}

/// Widths for a hover text, which must not fill the window.
pub(super) fn few(widths: &[usize]) -> String {
    match widths.get(..MOST) {
        Some(first) if widths.len() > MOST => {
            format!("{} \u{2026} ({} groups)", list(first), widths.len())
        }
        _ => list(widths),
    }
}
