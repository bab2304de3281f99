//! Settings of the search and of what precedes it.

use measuring::{CERTAINTY, ProbeConfig};
use search::{RewardConfig, ScreenConfig, StrategyKind};
use serde::{Deserialize, Serialize};

/// The search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SearchConfig {
    /// The strategy that proposes configurations.
    pub strategy: StrategyKind,
    /// Configurations to try.
    pub episodes: u64,
    /// The most configurations that are measured before the search to fit the latency model to
    /// the device.
    pub calibration: u64,
    /// How cost enters the reward.
    pub reward: RewardConfig,
    /// How often a device tries to measure a candidate until the measurement is valid.
    pub measure_attempts: u32,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            strategy: StrategyKind::Ddpg,
            episodes: 240,
            calibration: 40,
            reward: RewardConfig::default(),
            measure_attempts: 3,
        }
    }
}

/// How a run models the device's latency, and what it uses the model for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KnowledgeConfig {
    /// Whether the network's kernels are measured alone before the search. Predictions then begin
    /// with their sum instead of MACs.
    pub kernels: bool,
    /// Whether kernels that another device of the profile and processor measured are used where
    /// the store holds them and not the device's own. At most twenty whole networks then show how
    /// the device differs; where the kernels do not fit, its own are measured.
    #[serde(alias = "kindred")]
    pub donor: bool,
    /// Whether the search offers only widths at the edges of the device's latency steps: the
    /// others take no less time than the next of these.
    #[serde(alias = "corners")]
    pub step_edges: bool,
    /// How kernels are measured.
    pub probe: ProbeConfig,
    /// Half the width of the predicted interval, relative, at which calibration ends early.
    pub sure: f64,
    /// Which candidates are measured.
    pub screen: ScreenConfig,
}

impl Default for KnowledgeConfig {
    fn default() -> Self {
        Self {
            kernels: true,
            donor: true,
            step_edges: true,
            probe: ProbeConfig::default(),
            sure: CERTAINTY,
            screen: ScreenConfig::default(),
        }
    }
}
