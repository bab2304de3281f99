//! Weights of the parts of a loss.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// Settings of the distillation.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DistillConfig {
    /// Weight of the distillation loss; the rest is that of the cross-entropy. Counts as 0
    /// without a teacher.
    pub share: f64,
    /// Temperature of the distillation.
    pub temperature: f64,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            share: 0.9,
            temperature: 4.0,
        }
    }
}

/// Weights of the parts of the loss.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LossWeights {
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f64,
    /// Distillation from the teacher's outputs.
    pub distil: DistillConfig,
    /// Weight of the distance from the teacher's features.
    pub features: f64,
}

impl LossWeights {
    /// The loss of the targets, and that of the teacher by its share.
    pub(crate) fn mixed(&self, targets: &Tensor, teacher: &Tensor) -> Result<Tensor, TchError> {
        let share = self.distil.share;
        targets
            .f_mul_scalar(1.0 - share)?
            .f_add(&teacher.f_mul_scalar(share)?)
    }

    /// The loss of the labels alone.
    pub(crate) fn of_labels() -> Self {
        let nothing = DistillConfig {
            share: 0.0,
            ..DistillConfig::default()
        };
        Self {
            label_smoothing: 0.0,
            distil: nothing,
            features: 0.0,
        }
    }
}
