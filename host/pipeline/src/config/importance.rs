//! Settings of importance: which units of a group are dropped first, and what that costs.

use serde::{Deserialize, Serialize};

/// What the units of a group are ordered by.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Criterion {
    /// Magnitude of the weights (DepGraph's). It needs no data.
    Magnitude,
    /// First-order Taylor expansion of the cross-entropy (HALP's).
    Taylor,
    /// Group Fisher, by random projections of the outputs: it needs no labels.
    Fisher,
    /// Structured optimal brain surgeon: what the layers behind can do without, once refitted.
    #[default]
    Obs,
}

impl Criterion {
    /// The name in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Magnitude => "magnitude",
            Self::Taylor => "taylor",
            Self::Fisher => "fisher",
            Self::Obs => "obs",
        }
    }
}

/// The order in which channels are dropped, and the losses that a knapsack weighs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ImportanceConfig {
    /// What the units of a group are ordered by.
    pub criterion: Criterion,
    /// Training images that it is estimated on.
    pub images: usize,
    /// Whether a genetic algorithm selects the units of a candidate that is fine-tuned, beginning
    /// with those that importance keeps. It takes some seconds to minutes a candidate.
    pub genetic: bool,
    /// Random projections of the outputs per image, for `fisher` and for the losses of a knapsack.
    pub projections: usize,
}

impl Default for ImportanceConfig {
    fn default() -> Self {
        Self {
            criterion: Criterion::default(),
            images: 512,
            genetic: false,
            projections: 4,
        }
    }
}
