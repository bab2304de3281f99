//! A figure with its 95 % interval.

use serde::{Deserialize, Serialize};

/// A figure with its 95 % interval. Serialised as the array `[value, low, high]`;
/// [`MedianFields`] writes it as fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "(f64, f64, f64)", into = "(f64, f64, f64)")]
pub struct Interval {
    /// The figure: a median, a mean or a prediction.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// An interval of no width.
    pub fn exact(value: f64) -> Self {
        Self {
            value,
            low: value,
            high: value,
        }
    }

    /// The largest of the figure and its ends: the interval of an order statistic may leave the
    /// figure out.
    pub fn worst(&self) -> f64 {
        self.high.max(self.value)
    }

    /// Whether the whole interval lies at or below `limit`.
    pub fn met_below(&self, limit: f64) -> bool {
        self.worst() <= limit
    }

    /// Whether the two intervals have a point in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.low <= other.high && other.low <= self.high
    }

    /// Adds an independent error to the interval. `error_rel` is half of the error's own 95 %
    /// interval, relative to the figure. Squares add on either side.
    #[must_use]
    pub fn widened(&self, error_rel: f64) -> Self {
        let error = error_rel * self.value;
        Self {
            value: self.value,
            low: self.value - (self.value - self.low).hypot(error),
            high: self.value + (self.high - self.value).hypot(error),
        }
    }

    /// Half the width relative to the figure.
    pub fn half_width_rel(&self) -> f64 {
        (self.high - self.low) / (2.0 * self.value)
    }
}

impl From<(f64, f64, f64)> for Interval {
    fn from((value, low, high): (f64, f64, f64)) -> Self {
        Self { value, low, high }
    }
}

impl From<Interval> for (f64, f64, f64) {
    fn from(interval: Interval) -> Self {
        (interval.value, interval.low, interval.high)
    }
}

/// An [`Interval`] as the fields `median`, `low` and `high`, for
/// `#[serde(flatten, with = "MedianFields")]`.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Interval")]
pub struct MedianFields {
    #[serde(rename = "median")]
    value: f64,
    low: f64,
    high: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_independent_error_adds_by_squares() {
        let of = Interval::from((2.0, 1.97, 2.08)).widened(0.02);
        for (end, expected) in [(of.low, 1.95), (of.high, 2.0 + 0.08f64.hypot(0.04))] {
            assert!((end - expected).abs() < 1e-12, "{of:?}");
        }
    }

    #[test]
    fn a_limit_is_met_by_the_whole_interval() {
        let of = Interval::from((0.68, 0.66, 0.7));
        assert!(of.met_below(0.7) && !of.met_below(0.69));
        // An interval that leaves its figure out.
        assert!(!Interval::from((0.8, 0.6, 0.7)).met_below(0.75));
        assert!(!Interval::exact(f64::NAN).met_below(1.0));
    }

    #[test]
    fn intervals_overlap_where_they_share_a_point() {
        let of = Interval::from((1.5, 1.0, 2.0));
        for (low, high, overlaps) in [
            (2.0, 3.0, true),
            (1.2, 1.3, true),
            (0.0, 0.9, false),
            (2.1, 3.0, false),
        ] {
            assert_eq!(of.overlaps(&Interval::from((low, low, high))), overlaps);
        }
    }
}
