//! A number of bytes as a user writes it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Bytes with a unit of thousands (`96k`, `96kB`, `1.5M`) or of 1024 (`96KiB`, `96Ki`, `1MiB`), or
/// without one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "Written", into = "u64")]
#[schemars(with = "String")]
pub struct Bytes(pub u64);

/// Bytes in a file.
#[derive(Deserialize)]
#[serde(untagged, expecting = "bytes such as 98304 or \"96KiB\"")]
enum Written {
    Text(String),
    Number(u64),
}

const UNITS: [(&str, f64); 10] = [
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("k", 1e3),
    ("M", 1e6),
    ("B", 1.0),
    ("", 1.0),
];

impl FromStr for Bytes {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let trimmed = text.trim();
        let unit = UNITS
            .iter()
            .find_map(|(unit, of)| Some((trimmed.strip_suffix(unit)?.trim(), of)));
        let bytes = unit.and_then(|(number, of)| Some(number.parse::<f64>().ok()? * of));
        match bytes {
            Some(bytes) if (1.0..1e12).contains(&bytes) => Ok(Self(bytes as u64)),
            _ => Err(ConfigError::value("bytes", advice(trimmed))),
        }
    }
}

/// What to write instead. A capital K is refused, since it means 1000 to some and 1024 to others.
fn advice(text: &str) -> String {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let is_kilo = text[number.len()..].starts_with(['k', 'K']);
    let number = number.trim_end();
    let is_positive = number.parse::<f64>().is_ok_and(|number| number > 0.0);
    let number = if is_kilo && is_positive { number } else { "96" };
    format!("'{text}' is not a number of bytes: write {number}k, {number}KiB, 1.5M or 98304")
}

impl TryFrom<Written> for Bytes {
    type Error = ConfigError;

    fn try_from(written: Written) -> Result<Self, ConfigError> {
        match written {
            Written::Text(text) => text.parse(),
            Written::Number(number) => number.to_string().parse(),
        }
    }
}

impl From<Bytes> for u64 {
    fn from(bytes: Bytes) -> Self {
        bytes.0
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} kB", self.0 as f64 / 1e3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_with_their_units() {
        for (text, expected) in [
            ("96k", Some(96_000)),
            ("96kB", Some(96_000)),
            ("96KiB", Some(98_304)),
            (" 1.5 MiB ", Some(1_572_864)),
            ("0.25M", Some(250_000)),
            ("98304", Some(98_304)),
            ("12B", Some(12)),
            ("2 MB", Some(2_000_000)),
            ("nan", None),
            ("infM", None),
            ("90kb", None),
            ("96K", None),
            ("-1k", None),
            ("0", None),
            ("much", None),
            ("", None),
        ] {
            let bytes = text.parse::<Bytes>().ok().map(|bytes| bytes.0);
            assert_eq!(bytes, expected, "{text}");
        }
    }

    #[test]
    fn a_unit_that_is_ambiguous_is_answered_with_the_two_that_are_not() {
        for (text, advice) in [
            ("90K", "write 90k, 90KiB,"),
            ("1.5 KB", "write 1.5k, 1.5KiB,"),
            ("-1k", "write 96k, 96KiB,"),
            ("much", "write 96k, 96KiB,"),
        ] {
            let error = text.parse::<Bytes>().unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }
}
