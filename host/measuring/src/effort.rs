//! How much is sampled, as a multiple of what a search samples.

use std::fmt;
use std::str::FromStr;

/// A multiple of a search's sampling. Four times the effort halves the interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingEffort(f64);

impl SamplingEffort {
    /// The least. Below it the fewest rounds that give an interval are taken anyway.
    pub const LEAST: f64 = 0.1;
    /// The most: minutes for each model.
    pub const MOST: f64 = 100.0;

    /// The effort of `times` a search's.
    ///
    /// # Errors
    /// When it is not between [`Self::LEAST`] and [`Self::MOST`].
    pub fn new(times: f64) -> Result<Self, EffortError> {
        if (Self::LEAST..=Self::MOST).contains(&times) {
            Ok(Self(times))
        } else {
            Err(EffortError {
                text: times.to_string(),
            })
        }
    }

    /// Returns the multiple, for [`MeasureRequest::scaled`](latency::MeasureRequest::scaled).
    #[must_use]
    pub fn times(self) -> f64 {
        self.0
    }
}

/// An effort out of range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an effort: it is a multiple of a search's sampling from {least} to {most}, such as 4",
    least = SamplingEffort::LEAST,
    most = SamplingEffort::MOST
)]
pub struct EffortError {
    text: String,
}

impl FromStr for SamplingEffort {
    type Err = EffortError;

    fn from_str(text: &str) -> Result<Self, EffortError> {
        let times = text.trim().parse::<f64>();
        let refused = |_| {
            Err(EffortError {
                text: text.to_owned(),
            })
        };
        times.map_or_else(refused, Self::new)
    }
}

impl fmt::Display for SamplingEffort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_effort_in_range_is_accepted() {
        for (text, times) in [("0.1", 0.1), (" 4 ", 4.0), ("100", 100.0)] {
            assert_eq!(text.parse::<SamplingEffort>().unwrap().times(), times);
        }
    }

    #[test]
    fn an_effort_out_of_range_is_refused_with_the_range() {
        for text in ["0.09", "0", "-1", "101", "nan", "inf", "much", ""] {
            let error = text.parse::<SamplingEffort>().unwrap_err().to_string();
            assert!(error.contains("from 0.1 to 100"), "{text}: {error}");
        }
    }
}
