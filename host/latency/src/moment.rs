//! Moments as text: dates in UTC, and times before now.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A text that is not a point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a point in time: write 2026-11-26, \"2026-11-26 14:30\" (UTC), 90m, 12h or 7d"
)]
pub struct MomentError {
    /// The text.
    pub text: String,
}

/// Parses a moment, in ns since 1970: a date with or without a time in UTC (`2026-11-26`,
/// `2026-11-26 14:30`), or a time before now (`90m`, `12h`, `7d`).
///
/// # Errors
/// Fails for any other text.
pub fn parse_moment(text: &str) -> Result<i64, MomentError> {
    let ns = before_now(text)
        .or_else(|| text.parse::<Timestamp>().ok().and_then(unix_ns))
        .or_else(|| {
            let date = text.parse::<DateTime>().ok()?;
            unix_ns(Offset::UTC.to_timestamp(date).ok()?)
        });
    ns.ok_or_else(|| MomentError {
        text: text.to_owned(),
    })
}

fn before_now(text: &str) -> Option<i64> {
    let (count, seconds) = [("m", 60_i64), ("h", 3600), ("d", 86_400)]
        .into_iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)))?;
    let count: u32 = count.parse().ok()?;
    let ns = i64::from(count)
        .saturating_mul(seconds)
        .saturating_mul(1_000_000_000);
    Some(now_unix_ns().saturating_sub(ns))
}

fn unix_ns(timestamp: Timestamp) -> Option<i64> {
    i64::try_from(timestamp.as_nanosecond()).ok()
}

/// Formats a moment, in ns since 1970, as a date and time in UTC: `2026-11-26 14:30:00`.
pub fn format_moment(unix_ns: u64) -> String {
    let seconds = i64::try_from(unix_ns / 1_000_000_000).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds).map_or_else(
        |_| String::new(),
        |moment| moment.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// The clock of this machine, ns since 1970.
pub(crate) fn now_unix_ns() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_times_before_now_are_moments() {
        let check = |text: &str, ns: i64| assert_eq!(parse_moment(text), Ok(ns), "{text}");
        check("1970-01-02", 86_400_000_000_000);
        check("1970-01-01 00:01", 60_000_000_000);
        check("1970-01-01T00:00:01Z", 1_000_000_000);
        assert!(parse_moment("2h").unwrap() > parse_moment("1d").unwrap());
        for text in [
            "",
            "yesterday",
            "12",
            "1970-99-99",
            "99999999999999d",
            "99999-01-01",
        ] {
            let error = parse_moment(text).unwrap_err().to_string();
            assert!(error.contains("is not a point in time"), "{text}: {error}");
        }
    }

    #[test]
    fn moments_are_formatted_in_utc() {
        assert_eq!(format_moment(86_400_000_000_000), "1970-01-02 00:00:00");
        assert_eq!(
            format_moment(1_795_703_445_999_999_999),
            "2026-11-26 14:30:45"
        );
    }
}
