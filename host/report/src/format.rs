//! Formatting of numbers, times and names.

use agent_protocol::stats::Interval;
use jiff::Timestamp;

/// Placeholder for a missing figure.
pub(crate) const NONE: &str = "\u{2013}";

/// A number with `digits` significant digits, and at most nine decimals.
pub(crate) fn significant(value: f64, digits: i32) -> String {
    if !value.is_finite() {
        return NONE.to_owned();
    }
    let magnitude = if value == 0.0 {
        0
    } else {
        value.abs().log10().floor() as i32
    };
    let decimals = (digits - 1 - magnitude).clamp(0, 9) as usize;
    let text = format!("{value:.decimals$}");
    if text
        .trim_start_matches('-')
        .chars()
        .all(|c| c == '0' || c == '.')
    {
        text.replace('-', "")
    } else {
        text
    }
}

/// Milliseconds, without the unit.
pub(crate) fn millis(ns: f64) -> String {
    significant(ns / 1e6, 4)
}

/// Microseconds with a tenth, without the unit.
pub(crate) fn micros_number(ns: f64) -> String {
    if !ns.is_finite() {
        return NONE.to_owned();
    }
    // Adding zero turns a negative zero into a positive one.
    format!("{:.1}", (ns / 100.0).round() / 10.0 + 0.0)
}

/// Microseconds with a tenth and their unit; a profile resolves no less.
pub(crate) fn micros(ns: f64) -> String {
    match micros_number(ns) {
        number if number == NONE => number,
        number => format!("{number} us"),
    }
}

/// Percent with two decimals.
pub(crate) fn percent(part: f64) -> String {
    if part.is_finite() {
        format!("{:.2} %", part * 100.0)
    } else {
        NONE.to_owned()
    }
}

/// A ratio with three decimals.
pub(crate) fn ratio(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.3}")
    } else {
        NONE.to_owned()
    }
}

/// The ends of an interval: "0.673 to 0.687".
pub(crate) fn range(low: f64, high: f64, write: fn(f64) -> String) -> String {
    format!("{} to {}", write(low), write(high))
}

/// A ratio with its interval: "0.679 (0.673 to 0.687)".
pub(crate) fn ratio_with_interval(of: Interval) -> String {
    let ends = range(of.low, of.high, ratio);
    format!("{} ({ends})", ratio(of.value))
}

/// A count, shortened: 40.81 M.
pub(crate) fn short(value: u64) -> String {
    scaled(value, 1000.0, &["", " k", " M", " G", " T"])
}

/// A size in bytes, shortened: 1.08 MB.
pub(crate) fn bytes(value: u64) -> String {
    scaled(value, 1000.0, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(value: u64, base: f64, units: &[&str]) -> String {
    let mut rest = value as f64;
    let mut unit = 0;
    while rest >= base * 0.9995 && unit + 1 < units.len() {
        rest /= base;
        unit += 1;
    }
    if unit == 0 {
        format!("{value}{}", units[0])
    } else {
        format!("{}{}", significant(rest, 4), units[unit])
    }
}

/// All digits, in groups of three.
pub(crate) fn exact(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A change relative to an original: "-43.1 %".
pub(crate) fn change(ratio: f64) -> String {
    if !ratio.is_finite() {
        return NONE.to_owned();
    }
    let percent = (ratio - 1.0) * 100.0;
    let sign = if percent < -0.05 {
        "\u{2212}"
    } else if percent > 0.05 {
        "+"
    } else {
        "\u{b1}"
    };
    format!("{sign}{:.1} %", percent.abs())
}

/// A difference of accuracies in points: "-1.20".
pub(crate) fn points(difference: f64) -> String {
    if !difference.is_finite() {
        return NONE.to_owned();
    }
    let points = difference * 100.0;
    let sign = if points <= -0.005 {
        "\u{2212}"
    } else if points >= 0.005 {
        "+"
    } else {
        "\u{b1}"
    };
    format!("{sign}{:.2}", points.abs())
}

/// A duration: "1 h 03 min", "4 min 10 s", "12.3 s".
pub(crate) fn duration(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return NONE.to_owned();
    }
    if seconds < 60.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    if whole < 3600 {
        return format!("{} min {:02} s", whole / 60, whole % 60);
    }
    format!("{} h {:02} min", whole / 3600, whole % 3600 / 60)
}

/// A time in UTC: "2026-11-23 19:44:20 UTC"; [`NONE`] beyond the year 9999.
pub(crate) fn moment(unix_s: u64) -> String {
    let timestamp = i64::try_from(unix_s).ok();
    match timestamp.and_then(|s| Timestamp::from_second(s).ok()) {
        Some(timestamp) => timestamp.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => NONE.to_owned(),
    }
}

/// The day of a time in UTC, without its year: "11-23".
pub(crate) fn day(unix_s: u64) -> String {
    moment(unix_s).get(5..10).unwrap_or(NONE).to_owned()
}

/// `text` shortened to `most` characters by an ellipsis in the middle, where names differ least.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() <= most {
        return text.to_owned();
    }
    let head = (most.saturating_sub(1)) / 2;
    let tail = most.saturating_sub(1) - head;
    chars[..head]
        .iter()
        .chain(['\u{2026}'].iter())
        .chain(&chars[chars.len() - tail..])
        .collect()
}

/// The interpolated `part`-quantile (0..=1) of ascending values.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let index = part.clamp(0.0, 1.0) * last as f64;
    let below = sorted[index.floor() as usize];
    let above = sorted[index.ceil() as usize];
    Some(below + (above - below) * index.fract())
}

/// Whether a character changes how the text after it is displayed: control characters except tab
/// and newline, and changes of direction.
fn disturbs(c: char) -> bool {
    (c.is_control() && c != '\n' && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn replaced(text: &str, bad: impl Fn(char) -> bool) -> String {
    let replace = |c| if bad(c) { '\u{fffd}' } else { c };
    text.chars().map(replace).collect()
}

/// `text` without the characters that disturb the text around them.
pub(crate) fn printable(text: &str) -> String {
    replaced(text, disturbs)
}

/// `text` without control characters, so that it neither controls a terminal nor breaks a line.
pub(crate) fn single_line(text: &str) -> String {
    replaced(text, |c| c.is_control() || disturbs(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_known_texts() {
        assert_eq!(significant(0.0, 4), "0.000");
        assert_eq!(significant(-0.000_000_000_04, 3), "0.000000000");
        assert_eq!(significant(1234.56, 4), "1235");
        assert_eq!(significant(f64::NAN, 4), NONE);
        assert_eq!(millis(1_234_567.0), "1.235");
        assert_eq!(short(40_813_184), "40.81 M");
        assert_eq!(short(999_600), "0.9996 M");
        assert_eq!(short(272), "272");
        assert_eq!(bytes(1_080_000), "1.080 MB");
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(exact(12), "12");
        assert_eq!(change(0.569), "\u{2212}43.1 %");
        assert_eq!(change(1.0), "\u{b1}0.0 %");
        assert_eq!(points(-0.012), "\u{2212}1.20");
        assert_eq!(duration(3_790.0), "1 h 03 min");
        assert_eq!(duration(250.0), "4 min 10 s");
        assert_eq!(duration(-1.0), NONE);
        assert_eq!(shorten("layer1.0.conv1", 9), "laye\u{2026}onv1");
    }

    #[test]
    fn moments_have_their_known_texts() {
        assert_eq!(moment(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(moment(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(moment(1_795_463_060), "2026-11-23 19:44:20 UTC");
        assert_eq!(moment(4_107_542_400), "2100-03-01 00:00:00 UTC");
        assert_eq!(moment(u64::MAX), NONE);
        assert_eq!(day(1_795_463_060), "11-23");
        assert_eq!(day(u64::MAX), NONE);
    }

    #[test]
    fn characters_that_disturb_others_are_replaced() {
        let hostile = "a\u{202e}b\0c\u{1b}[2J\td\n";
        assert_eq!(printable(hostile), "a\u{fffd}b\u{fffd}c\u{fffd}[2J\td\n");
        assert_eq!(single_line("a\tb\n"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[4.0], 0.9), Some(4.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), Some(2.5));
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 1.0), Some(3.0));
    }
}
