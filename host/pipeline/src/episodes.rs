//! The record of one configuration that the search tried.

use latency::stats::Interval;
use search::Screening;
use serde::{Deserialize, Serialize};

use crate::config::StrategyKind;

/// One configuration that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpisodeRecord {
    /// Counts from 0 within the strategy.
    pub episode: u64,
    /// The strategy that proposed it.
    pub strategy: StrategyKind,
    /// Kept units per group.
    pub widths: Vec<usize>,
    /// Accuracy on the search split, 0 to 1, or the score of the user's command.
    pub accuracy: f64,
    /// Kullback-Leibler divergence of the predictions from the original's, nats; of runs whose
    /// score it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// MACs per image.
    pub macs: u64,
    /// Memory on a bare-metal board as a share of what it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<f64>,
    /// Latency over the original's; `None` without a valid measurement.
    pub ratio: Option<Interval>,
    /// Median latency, nanoseconds.
    pub latency_ns: Option<f64>,
    /// The latency model's prediction beforehand, as a ratio.
    pub predicted_ratio: f64,
    /// The interval of that prediction.
    #[serde(default)]
    pub predicted_interval: Option<(f64, f64)>,
    /// Whether it was measured, and why or why not.
    #[serde(default = "before_screening")]
    pub screening: Screening,
    /// The reward that the strategy received.
    pub reward: f64,
    /// Whether the budget is met, the upper end of the interval included.
    pub feasible: bool,
    /// Why there is no valid measurement, or no score.
    pub failure: Option<String>,
    /// Whether the user's command gave no score: `accuracy` then means nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unscored: bool,
    /// The device that measured it.
    #[serde(default)]
    pub device: Option<String>,
    /// Time of its steps.
    #[serde(rename = "parts_ns")]
    pub timings: Timings,
}

/// The agreement with the original where a run compares with it, and the accuracy elsewhere.
pub(crate) fn score(accuracy: f64, divergence: Option<f64>) -> f64 {
    divergence.map_or(accuracy, |d| (-d).exp())
}

/// Versions without screening measured every candidate.
fn before_screening() -> Screening {
    Screening::MayWin
}

/// Time that the steps of one candidate took, nanoseconds. Serialised as an array in this order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[u64; 5]", into = "[u64; 5]")]
pub struct Timings {
    /// The strategy's choice.
    pub asking_ns: u64,
    /// Weight generation and evaluation.
    pub evaluating_ns: u64,
    /// Cutting, folding and writing the network.
    pub exporting_ns: u64,
    /// Its share of the time that the devices measured; 0 without a measurement.
    pub measuring_ns: u64,
    /// The outcome's way into the latency model and the strategy.
    pub telling_ns: u64,
}

impl From<[u64; 5]> for Timings {
    fn from(ns: [u64; 5]) -> Self {
        let [
            asking_ns,
            evaluating_ns,
            exporting_ns,
            measuring_ns,
            telling_ns,
        ] = ns;
        Self {
            asking_ns,
            evaluating_ns,
            exporting_ns,
            measuring_ns,
            telling_ns,
        }
    }
}

impl From<Timings> for [u64; 5] {
    fn from(t: Timings) -> Self {
        [
            t.asking_ns,
            t.evaluating_ns,
            t.exporting_ns,
            t.measuring_ns,
            t.telling_ns,
        ]
    }
}

impl EpisodeRecord {
    /// What the reward is computed from, 0 to 1.
    pub(crate) fn score(&self) -> f64 {
        score(self.accuracy, self.divergence)
    }

    /// The name of the candidate: `ddpg-17`.
    pub(crate) fn label(&self) -> String {
        format!("{}-{}", self.strategy.name(), self.episode)
    }
}

impl From<&EpisodeRecord> for report::Candidate {
    fn from(e: &EpisodeRecord) -> Self {
        Self {
            episode: e.episode,
            strategy: e.strategy.name().into(),
            accuracy: e.accuracy,
            latency_ratio: e.ratio,
            macs: e.macs,
            predicted_ratio: Some(e.predicted_ratio),
            reward: e.reward,
            feasible: e.feasible,
            screened: !e.screening.measures(),
            halving_accuracy: None,
            widths: e.widths.clone(),
            device: e.device.clone(),
            device_s: e.timings.measuring_ns as f64 / 1e9,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_is_read_and_written_alike() {
        let old = r#"{"episode":3,"strategy":"ddpg","widths":[8,16],"accuracy":0.5,"macs":10,"ratio":[0.6,0.59,0.61],"latency_ns":1000000.0,"predicted_ratio":0.62,"predicted_interval":[0.6,0.64],"screening":"may_win","reward":0.5,"feasible":true,"failure":null,"device":"a","parts_ns":[1,2,3,4,5]}"#;
        let record: EpisodeRecord = serde_json::from_str(old).unwrap();
        assert_eq!(record.ratio, Some((0.6, 0.59, 0.61).into()));
        assert_eq!(record.timings.measuring_ns, 4);
        assert_eq!(record.label(), "ddpg-3");
        assert_eq!(serde_json::to_string(&record).unwrap(), old);
    }
}
