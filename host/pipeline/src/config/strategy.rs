//! Settings of the search and of what precedes it.

use std::str::FromStr;

use measuring::{CERTAINTY, ProbeConfig};
use search::{RewardConfig, ScreenConfig};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A search strategy.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum StrategyKind {
    /// Deep deterministic policy gradient on the Graph PruningNet's node embeddings.
    Ddpg,
    /// The evolutionary search of MetaPruning.
    Evolution,
    /// Random configurations near the budget.
    Random,
    /// One keep ratio for all groups.
    Uniform,
}

impl StrategyKind {
    /// All strategies.
    pub const ALL: [Self; 4] = [Self::Ddpg, Self::Evolution, Self::Random, Self::Uniform];

    /// Whether several configurations can be proposed before the first outcome without a
    /// noticeable loss, so that the devices of a fleet measure them at once. DDPG learns from
    /// every episode before the next, and the bisection for uniform widths needs each answer for
    /// its next question.
    #[must_use]
    pub fn asks_ahead(self) -> bool {
        matches!(self, Self::Evolution | Self::Random)
    }

    /// The name in configurations and records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddpg => "ddpg",
            Self::Evolution => "evolution",
            Self::Random => "random",
            Self::Uniform => "uniform",
        }
    }
}

impl FromStr for StrategyKind {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let mut all = Self::ALL.into_iter();
        all.find(|s| s.name() == text).ok_or_else(|| {
            ConfigError::value(
                "strategy",
                format!("'{text}' is not one of ddpg, evolution, random, uniform"),
            )
        })
    }
}

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
    pub kindred: bool,
    /// Whether the search offers only widths at the edges of the device's latency steps: the
    /// others take no less time than the next of these.
    pub corners: bool,
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
            kindred: true,
            corners: true,
            probe: ProbeConfig::default(),
            sure: CERTAINTY,
            screen: ScreenConfig::default(),
        }
    }
}
