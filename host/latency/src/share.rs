//! Shares as people write them: `3%`, `0.03`, `0.7x`. The command line and the configuration
//! files share this parser.

use serde::de::DeserializeOwned;

/// The kind of a share, which determines its range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShareOf {
    /// A budget, in (0, 1): `0.7x`, `70%`, `0.7`.
    Budget,
    /// A part, in (0, 1]: `0.5x`, `50%`, `0.5`, `1`.
    Part,
    /// A fraction, in [0, 1]: `50%`, `0.5`, `0`, `1`.
    Fraction,
    /// A margin, in [0, 1): `1%`, `0.01`, `0`.
    Margin,
    /// A change, above 0, and below 1 without a percent sign: `3%`, `0.03`, `150%`.
    Change,
    /// A factor, above 0, and below 1 without an x or a percent sign: `1.05x`, `105%`, `0.7`.
    Factor,
}

/// A text or a number that is not a share of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` {problem}")]
pub struct ShareError {
    /// The text.
    pub text: String,
    /// The problem and the remedy.
    pub problem: String,
}

/// The sign behind a number.
#[derive(Clone, Copy, PartialEq)]
enum Sign {
    Percent,
    Times,
    None,
}

impl ShareOf {
    /// Parses a share: a number with a percent sign, an x or neither behind it.
    ///
    /// # Errors
    /// Fails if the text is not a share or out of range.
    pub fn parse(self, text: &str) -> Result<f64, ShareError> {
        let text = text.trim();
        let (number, sign) = if let Some(number) = text.strip_suffix('%') {
            (number, Sign::Percent)
        } else if let Some(number) = text.strip_suffix('x') {
            (number, Sign::Times)
        } else {
            (text, Sign::None)
        };
        let number = number.trim().parse::<f64>().ok();
        let value = number.map(|n| if sign == Sign::Percent { n / 100.0 } else { n });
        let problem = match value.filter(|value| value.is_finite()) {
            None => Some(format!("is not a share; write {}", self.examples())),
            Some(value) => self.problem(value, sign),
        };
        match (problem, value) {
            (None, Some(value)) => Ok(value),
            (problem, _) => Err(ShareError {
                text: text.to_owned(),
                problem: problem.unwrap_or_default(),
            }),
        }
    }

    /// Checks a share given as a number.
    ///
    /// # Errors
    /// Fails if it is out of range.
    pub fn check(self, value: f64) -> Result<f64, ShareError> {
        self.parse(&value.to_string())
    }

    fn examples(self) -> &'static str {
        match self {
            Self::Budget => "0.7x, 70% or 0.7",
            Self::Part => "50%, 0.5 or 1",
            Self::Fraction => "50%, 0.5, 0 or 1",
            Self::Margin => "1%, 0.01 or 0",
            Self::Change => "3% or 0.03",
            Self::Factor => "0.7x, 70%, 0.7 or 1.05x",
        }
    }

    /// The problem of a finite value written with `sign`, if any.
    fn problem(self, value: f64, sign: Sign) -> Option<String> {
        let examples = self.examples();
        if self == Self::Change && sign == Sign::Times {
            return Some(format!(
                "is a factor, and a change is needed; write {examples}"
            ));
        }
        let with_zero = matches!(self, Self::Margin | Self::Fraction);
        if value < 0.0 || (value == 0.0 && !with_zero) {
            return Some(format!("is not above 0; write {examples}"));
        }
        let open = matches!(self, Self::Change | Self::Factor);
        let above = match self {
            Self::Part | Self::Fraction => value > 1.0,
            _ => value >= 1.0,
        };
        if !above || (open && sign != Sign::None) {
            return None;
        }
        // A plain 3 may mean 3 % or 300 %.
        let meant = match sign {
            Sign::None if self == Self::Factor => {
                format!("; write {value}% or {value}x, whichever is meant")
            }
            Sign::None if open => {
                format!("; write {value}%, or {}% if that is meant", value * 100.0)
            }
            Sign::None if value > 1.0 && value < 100.0 => {
                format!("; write {value}% if that is meant")
            }
            _ => format!("; write {examples}"),
        };
        Some(match self {
            Self::Budget => format!("is not below the original's{meant}"),
            Self::Part | Self::Fraction => format!("is more than the whole{meant}"),
            Self::Margin => format!("is not below the whole{meant}"),
            Self::Change | Self::Factor => {
                format!("is {} without a sign{meant}", percent(value))
            }
        })
    }
}

/// Formats a share in per cent: `3 %`.
pub fn percent(share: f64) -> String {
    // Single precision hides the rounding of 7.000000000000001.
    format!("{} %", (share * 100.0) as f32)
}

/// A key of a configuration file whose value is a share.
#[derive(Clone, Copy, Debug)]
pub struct ShareKey {
    /// The key with its tables: `budget.macs`.
    pub key: &'static str,
    /// The kind of share.
    pub of: ShareOf,
}

/// An error of reading a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShareFileError {
    /// The text does not parse, or has an unknown key.
    #[error("{0}")]
    Syntax(String),
    /// A value is not a share of its kind.
    #[error("{key}: {problem}")]
    Share {
        /// The key with its tables.
        key: &'static str,
        /// The problem.
        problem: ShareError,
    },
}

/// Parses TOML in which the values of `keys` can be written as on the command line, with the same
/// ranges for numbers.
///
/// # Errors
/// Fails if the text does not parse as a `T`, or a share is out of range.
pub fn read_toml<T: DeserializeOwned>(text: &str, keys: &[ShareKey]) -> Result<T, ShareFileError> {
    let syntax = |error: toml::de::Error| ShareFileError::Syntax(error.to_string());
    let mut table: toml::Table = toml::from_str(text).map_err(syntax)?;
    let mut rewritten = false;
    for key in keys {
        let Some(value) = find(&mut table, key.key) else {
            continue;
        };
        let read = match &*value {
            toml::Value::String(text) => key.of.parse(text),
            toml::Value::Float(number) => key.of.check(*number),
            toml::Value::Integer(number) => key.of.parse(&number.to_string()),
            // Deserialisation below reports other types.
            _ => continue,
        };
        let share = read.map_err(|problem| ShareFileError::Share {
            key: key.key,
            problem,
        })?;
        rewritten |= value.is_str();
        *value = toml::Value::Float(share);
    }
    if rewritten {
        table.try_into().map_err(syntax)
    } else {
        // Errors from the text itself have a line and a column.
        toml::from_str(text).map_err(syntax)
    }
}

fn find<'t>(table: &'t mut toml::Table, key: &str) -> Option<&'t mut toml::Value> {
    match key.split_once('.') {
        None => table.get_mut(key),
        Some((first, rest)) => find(table.get_mut(first)?.as_table_mut()?, rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ambiguous_shares_and_shares_out_of_range_are_refused() {
        use ShareOf::{Budget, Change, Factor, Fraction, Margin, Part};
        let check =
            |of: ShareOf, text: &str, expected: Result<f64, &str>| match (of.parse(text), expected)
            {
                (Ok(share), Ok(value)) => assert_eq!(share, value, "{of:?} {text}"),
                (Err(error), Err(needle)) => {
                    let error = error.to_string();
                    assert!(error.contains(needle), "{of:?} {text}: {error}");
                }
                (result, expected) => panic!("{of:?} {text}: {result:?}, not {expected:?}"),
            };
        check(Change, "3%", Ok(0.03));
        check(Change, " 7 % ", Ok(0.07));
        check(Change, "0.05", Ok(0.05));
        check(Change, "300%", Ok(3.0));
        check(Change, "3", Err("write 3%, or 300% if that is meant"));
        check(Change, "1", Err("100 % without a sign"));
        check(Change, "1.03x", Err("is a factor"));
        check(Budget, "0.7x", Ok(0.7));
        check(Budget, "70%", Ok(0.7));
        check(Budget, "0.7", Ok(0.7));
        for text in ["1", "1x", "100%", "1.5x", "150%"] {
            check(Budget, text, Err("is not below the original's"));
        }
        check(Budget, "70", Err("write 70% if that is meant"));
        check(Part, "1", Ok(1.0));
        check(Part, "100%", Ok(1.0));
        check(Part, "50", Err("write 50% if that is meant"));
        check(Part, "0", Err("not above 0"));
        check(Fraction, "0", Ok(0.0));
        check(Fraction, "100%", Ok(1.0));
        check(Fraction, "1.5", Err("more than the whole"));
        check(Margin, "0", Ok(0.0));
        check(Margin, "1", Err("not below the whole"));
        check(Factor, "1.05x", Ok(1.05));
        check(Factor, "105%", Ok(1.05));
        check(Factor, "0.7", Ok(0.7));
        check(Factor, "3", Err("write 3% or 3x"));
        for of in [Budget, Part, Fraction, Margin, Change, Factor] {
            for text in [
                "", "%", "x", "fast", "nan", "NaN%", "inf", "infx", "1e999", "3%%", "3 %x", "0,7x",
            ] {
                check(of, text, Err("write "));
            }
            for text in ["-1%", "-0.5", "-inf"] {
                check(of, text, Err("write "));
            }
        }
    }

    #[test]
    fn a_file_accepts_shares_as_the_command_line_does() {
        #[derive(Debug, PartialEq, serde::Deserialize)]
        struct Inner {
            limit: f64,
        }
        #[derive(Debug, PartialEq, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Outer {
            share: Option<f64>,
            inner: Option<Inner>,
        }
        let keys = [
            ShareKey {
                key: "share",
                of: ShareOf::Budget,
            },
            ShareKey {
                key: "inner.limit",
                of: ShareOf::Change,
            },
        ];
        let read = |text: &str| read_toml::<Outer>(text, &keys);
        let both = Outer {
            share: Some(0.5),
            inner: Some(Inner { limit: 0.03 }),
        };
        assert_eq!(read("share = \"50%\"\ninner.limit = \"3%\"").unwrap(), both);
        assert_eq!(read("share = 0.5\n[inner]\nlimit = 0.03").unwrap(), both);
        for (text, needle) in [
            ("share = 1", "share: `1` is not below"),
            ("share = 50", "write 50%"),
            ("inner.limit = 3", "inner.limit: `3` is 300 %"),
            ("inner.limit = nan", "write 3%"),
            ("share = \"half\"", "`half` is not a share"),
            ("share = [1]", "line 1"),
            ("other = 1", "line 1"),
            ("share = ", "line 1"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
        }
    }

    #[test]
    fn a_share_is_formatted_without_rounding_errors() {
        for (share, text) in [
            (0.03, "3 %"),
            (0.07, "7 %"),
            (0.005, "0.5 %"),
            (3.0, "300 %"),
        ] {
            assert_eq!(percent(share), text);
        }
    }
}
