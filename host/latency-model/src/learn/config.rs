//! Settings of the latency model.

use serde::{Deserialize, Serialize};

/// The scale in which the regression is linear.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The latency ratio: latency is a sum over layers.
    #[default]
    Linear,
    /// Its logarithm: relative errors weigh the same for fast and slow networks.
    Log,
}

/// Settings of [`LatencyModel`](super::LatencyModel).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatencyModelConfig {
    /// Scale of the regression.
    pub scale: Scale,
    /// The number of samples from which the regression is used; below it the line predicts alone.
    pub min_samples: usize,
    /// Candidates for the ridge penalty, relative to the number of samples. Leave-one-out errors
    /// choose among them.
    pub penalties: Vec<f64>,
    /// The largest factor between the regression and the line, so that the regression does not
    /// diverge far from its samples.
    pub max_correction: f64,
}

impl Default for LatencyModelConfig {
    fn default() -> Self {
        Self {
            scale: Scale::Linear,
            min_samples: 6,
            penalties: vec![1e-6, 1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0],
            max_correction: 2.0,
        }
    }
}

impl LatencyModelConfig {
    /// The residual of a ratio against the line, in the regression's scale.
    pub(super) fn residual(&self, line: f64, ratio: f64) -> f64 {
        match self.scale {
            Scale::Linear => ratio - line,
            Scale::Log => (ratio / line).ln(),
        }
    }

    /// The ratio of a line and a residual; the inverse of [`Self::residual`] within
    /// `max_correction`.
    pub(super) fn combine(&self, line: f64, residual: f64) -> f64 {
        let ratio = match self.scale {
            Scale::Linear => line + residual,
            Scale::Log => line * residual.exp(),
        };
        ratio.clamp(line / self.max_correction, line * self.max_correction)
    }
}
