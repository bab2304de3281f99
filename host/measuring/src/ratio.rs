//! A latency relative to the reference's.

use latency::stats::{Interval, MedianFields};
use latency::{Measurement, Verdict};
use serde::{Deserialize, Serialize};

/// A latency relative to the reference's, with the measurements behind it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeasuredRatio {
    /// Latency over the reference's, from interleaved rounds.
    #[serde(flatten, with = "MedianFields")]
    pub ratio: Interval,
    /// Median latency, ns.
    pub latency_ns: f64,
    /// Its 95 % interval, ns.
    pub interval_ns: (f64, f64),
    /// Median latency of the reference, ns.
    pub reference_ns: f64,
    /// Its 95 % interval, ns.
    pub reference_interval_ns: (f64, f64),
    /// SHA-256 of the model, in hexadecimal.
    pub model_sha256: String,
    /// The device that measured both.
    #[serde(default)]
    pub device: String,
    /// The agent's remarks, such as an execution provider that was not available.
    #[serde(default)]
    pub notes: Vec<String>,
    /// By how much the reference exceeded its best known time, relative, where that is so much
    /// that the ratio may be another on a quiet device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_excess_rel: Option<f64>,
}

impl MeasuredRatio {
    /// The ratio of a measurement beside its reference.
    ///
    /// # Errors
    /// Why the measurement may not be used.
    pub(crate) fn new(
        device: &str,
        m: &Measurement,
        reference: Option<&Measurement>,
    ) -> Result<Self, String> {
        let Some(reference) = reference else {
            return Err("the agent returned no measurement of the reference".into());
        };
        let ratio = valid_ratio(m, reference)?;
        Ok(Self {
            ratio,
            latency_ns: m.median_ns,
            interval_ns: m.ci95_ns,
            reference_ns: reference.median_ns,
            reference_interval_ns: reference.ci95_ns,
            model_sha256: m.model_sha256.to_string(),
            device: device.to_owned(),
            notes: m.notes.clone(),
            reference_excess_rel: m.reference_excess_rel,
        })
    }
}

/// The ratio of two measurements that are both valid.
pub(crate) fn valid_ratio(m: &Measurement, reference: &Measurement) -> Result<Interval, String> {
    for verdict in [&m.verdict, &reference.verdict] {
        if let Verdict::Invalid { reason } = verdict {
            return Err(reason.clone());
        }
    }
    let ratio = m.ratio.map(|ratio| ratio.interval);
    ratio.ok_or_else(|| "the agent gave no ratio to the reference".into())
}

/// The final measurement of one network.
#[derive(Debug, Clone, PartialEq)]
pub struct FinalRatio {
    /// The figure that counts.
    pub ratio: MeasuredRatio,
    /// The same on the other devices.
    pub checks: Vec<MeasuredRatio>,
}

#[cfg(test)]
mod tests {
    use super::MeasuredRatio;

    #[test]
    fn a_ratio_recorded_by_an_earlier_version_is_read_and_written_alike() {
        let old = r#"{"median":0.7,"low":0.69,"high":0.72,"latency_ns":1.5,"interval_ns":[1.0,2.0],"reference_ns":2.5,"reference_interval_ns":[2.0,3.0],"model_sha256":"00","device":"pi","notes":[]}"#;
        let ratio: MeasuredRatio = serde_json::from_str(old).unwrap();
        assert_eq!(ratio.ratio, (0.7, 0.69, 0.72).into());
        assert_eq!(serde_json::to_string(&ratio).unwrap(), old);
    }
}
