//! The latency of a candidate relative to the reference.

use serde::{Deserialize, Serialize};

use crate::ProtocolError;
use crate::check::{amount, within};
use crate::mirror::mirror_struct;

/// A candidate's latency relative to the reference's, from interleaved rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Median over rounds of (median of the candidate's block / median of the reference's block).
    pub median: f64,
    /// Lower end of the 95 % interval of that median.
    pub low: f64,
    /// Upper end of the 95 % interval of that median.
    pub high: f64,
    /// Ratio of the two 5th percentiles, which the least disturbed runs decide.
    pub low_end: f64,
    /// Rounds.
    pub rounds: u32,
}

impl Ratio {
    /// Returns half the interval relative to the median.
    pub fn ci_rel(&self) -> f64 {
        (self.high - self.low) / 2.0 / self.median
    }

    fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Ratio";
        for (field, value) in [
            ("median", self.median),
            ("low", self.low),
            ("high", self.high),
            ("low_end", self.low_end),
        ] {
            amount(M, field, value)?;
        }
        let interval = (self.low, self.high);
        within(
            M,
            "median",
            self.median,
            interval,
            "it must lie in its own interval",
        )?;
        let positive = (f64::MIN_POSITIVE, f64::MAX);
        within(M, "low", self.low, positive, "it must be positive")?;
        Ok(())
    }
}

mirror_struct!(Ratio {
    median,
    low,
    high,
    low_end,
    rounds,
});
