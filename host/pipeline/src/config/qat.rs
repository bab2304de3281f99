//! Settings of quantisation-aware training.

use serde::{Deserialize, Serialize};
use train::{FinetuneConfig, SgdConfig};

/// Quantisation-aware training of a network in integers: weights and activations are rounded in
/// each pass, and the network in floats is the teacher.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QatConfig {
    /// Passes over the training data; 0 leaves it out, so that integers are calibrated alone.
    pub epochs: usize,
    /// Peak learning rate.
    pub lr: f64,
}

impl Default for QatConfig {
    fn default() -> Self {
        Self {
            epochs: 0,
            lr: 0.001,
        }
    }
}

impl QatConfig {
    /// The settings as those of a fine-tuning that is otherwise like `base`.
    pub(crate) fn settings(&self, base: &FinetuneConfig) -> FinetuneConfig {
        FinetuneConfig {
            epochs: self.epochs,
            sgd: SgdConfig {
                lr: self.lr,
                ..base.sgd.clone()
            },
            ..base.clone()
        }
    }
}
