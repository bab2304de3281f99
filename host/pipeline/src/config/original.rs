//! Settings of the training of a network that is not given trained.

use serde::{Deserialize, Serialize};
use train::{FinetuneConfig, SgdConfig};

/// Training of a network of the zoo from initialised weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct OriginalConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Optimiser and schedule.
    pub sgd: SgdConfig,
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f64,
}

impl Default for OriginalConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            sgd: SgdConfig::default(),
            label_smoothing: 0.0,
        }
    }
}

impl OriginalConfig {
    /// The settings as those of a training without a teacher.
    pub(crate) fn settings(&self) -> FinetuneConfig {
        FinetuneConfig {
            epochs: self.epochs,
            sgd: self.sgd.clone(),
            label_smoothing: self.label_smoothing,
            ..FinetuneConfig::default()
        }
    }
}
