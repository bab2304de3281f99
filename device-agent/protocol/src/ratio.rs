//! The latency of a candidate relative to the reference.

use serde::{Deserialize, Serialize};

use crate::check::{amount, within};
use crate::interval::Interval;
use crate::{ProtocolError, wire};

/// A candidate's latency relative to the reference's, from interleaved rounds.
///
/// The figure of several processes is the mean of their [`low_end`](Self::low_end)s, with its
/// interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Within a process: median over rounds of (median of the candidate's block / median of the
    /// reference's block).
    #[serde(flatten, with = "crate::interval::MedianFields")]
    pub interval: Interval,
    /// Ratio of the two 5th percentiles, which the least disturbed runs decide.
    pub low_end: f64,
    /// Rounds.
    pub rounds: u32,
}

impl Ratio {
    /// Returns half the interval relative to the median.
    pub fn ci_rel(&self) -> f64 {
        self.interval.half_width_rel()
    }
}

impl TryFrom<wire::Ratio> for Ratio {
    type Error = ProtocolError;

    fn try_from(m: wire::Ratio) -> Result<Self, ProtocolError> {
        const M: &str = "Ratio";
        for (field, value) in [
            ("median", m.median),
            ("low", m.low),
            ("high", m.high),
            ("low_end", m.low_end),
        ] {
            amount(M, field, value)?;
        }
        let interval = (m.low, m.high);
        within(
            M,
            "median",
            m.median,
            interval,
            "it must lie in its own interval",
        )?;
        let positive = (f64::MIN_POSITIVE, f64::MAX);
        within(M, "low", m.low, positive, "it must be positive")?;
        Ok(Self {
            interval: (m.median, m.low, m.high).into(),
            low_end: m.low_end,
            rounds: m.rounds,
        })
    }
}

impl From<Ratio> for wire::Ratio {
    fn from(ratio: Ratio) -> Self {
        Self {
            median: ratio.interval.value,
            low: ratio.interval.low,
            high: ratio.interval.high,
            low_end: ratio.low_end,
            rounds: ratio.rounds,
        }
    }
}
