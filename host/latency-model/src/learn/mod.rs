//! Regression from the costs of a configuration to its latency, with a calibrated prediction
//! interval.

use agent_protocol::stats::Interval;
mod config;
mod linalg;
mod ranks;
mod regression;
mod ridge;

use serde::{Deserialize, Serialize};

use crate::LatencyModelError;
pub use config::{LatencyModelConfig, Scale};
pub use ranks::{kendall, spearman};
pub use regression::ModelFit;
use regression::{Regression, Sample};

/// Predicts the latency of a candidate relative to the original network.
///
/// The prediction starts from a cost: the sum of the kernels' times, or MACs. A line through two
/// anchors maps cost to latency: the full network (all of the cost, ratio 1) and the cheapest
/// measured one. Without a second anchor latency is proportional to the cost. With enough
/// samples, ridge regression over standardised per-layer features predicts the residuals against
/// the line; its penalty pulls it back to the line where there are no samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyModel {
    config: LatencyModelConfig,
    full_cost: f64,
    samples: Vec<Sample>,
    regression: Option<Regression>,
}

impl LatencyModel {
    /// Creates a model of a network whose unpruned cost is `full_cost`, in any unit.
    ///
    /// # Errors
    /// [`LatencyModelError::InvalidOption`] if a setting is out of range.
    pub fn new(config: LatencyModelConfig, full_cost: f64) -> Result<Self, LatencyModelError> {
        let invalid = |option, reason| Err(LatencyModelError::InvalidOption { option, reason });
        if !(full_cost > 0.0 && full_cost.is_finite()) {
            return invalid("full_cost", "the network costs nothing");
        }
        if config.penalties.is_empty()
            || config
                .penalties
                .iter()
                .any(|&p| !(p > 0.0 && p.is_finite()))
        {
            return invalid("penalties", "needs positive numbers");
        }
        if config.max_correction.is_nan() || config.max_correction < 1.0 {
            return invalid("max_correction", "must be at least 1");
        }
        Ok(Self {
            config,
            full_cost,
            samples: Vec::new(),
            regression: None,
        })
    }

    /// Adds samples: features, cost and measured latency ratio. The full network is implied.
    ///
    /// # Errors
    /// [`LatencyModelError::Sample`] if a ratio is not positive, a feature or a cost is not
    /// finite, or the number of features changes. Samples before the failing one are learned.
    pub fn observe(
        &mut self,
        samples: impl IntoIterator<Item = (Vec<f64>, f64, f64)>,
    ) -> Result<(), LatencyModelError> {
        let mut samples = samples.into_iter();
        let outcome =
            samples.try_for_each(|(features, cost, ratio)| self.add(features, cost, ratio));
        let lines: Vec<f64> = self.samples.iter().map(|s| self.line(s.cost)).collect();
        self.regression = Regression::fit(&self.config, &self.samples, &lines);
        outcome
    }

    fn add(&mut self, features: Vec<f64>, cost: f64, ratio: f64) -> Result<(), LatencyModelError> {
        let unusable = |reason: String| Err(LatencyModelError::Sample { reason });
        if !(ratio > 0.0 && ratio.is_finite()) {
            return unusable(format!("ratio {ratio}"));
        }
        if features.iter().chain([&cost]).any(|f| !f.is_finite()) {
            return unusable("a feature or the cost is not a number".into());
        }
        if let Some(first) = self.samples.first()
            && first.features.len() != features.len()
        {
            return unusable(format!(
                "{} features, {} before",
                features.len(),
                first.features.len()
            ));
        }
        self.samples.push(Sample {
            features,
            cost,
            ratio,
        });
        Ok(())
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether there are no samples.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Returns the predicted latency ratio, positive. Features of another number than the
    /// samples' are ignored.
    pub fn predict(&self, features: &[f64], cost: f64) -> f64 {
        let line = self.line(cost);
        match self.regression_for(features) {
            Some(regression) => self.config.combine(line, regression.residual(features)),
            None => line,
        }
    }

    /// Returns the predicted latency ratio with its 95 % prediction interval, or `None` while the
    /// line predicts alone.
    ///
    /// The interval is that of the Gaussian process behind the ridge, scaled to cover the samples
    /// when each is left out in turn (a normalised jackknife, as in conformal prediction: Lei et
    /// al., J. Am. Stat. Assoc. 113 (2018), 1094-1111).
    pub fn predict_interval(&self, features: &[f64], cost: f64) -> Option<Interval> {
        let regression = self.regression_for(features)?;
        let line = self.line(cost);
        let residual = regression.residual(features);
        let half = regression.half_width(features);
        Some(Interval {
            value: self.config.combine(line, residual),
            low: self.config.combine(line, residual - half),
            high: self.config.combine(line, residual + half),
        })
    }

    /// Returns the quality of the fit, or `None` while the line predicts alone.
    pub fn fit(&self) -> Option<&ModelFit> {
        self.regression.as_ref().map(|r| &r.fit)
    }

    /// Returns the leave-one-out prediction of each sample in the order of observing; empty while
    /// the line predicts alone.
    pub fn left_out(&self) -> Vec<f64> {
        let regression = self.regression.as_ref();
        regression.map_or(Vec::new(), |r| r.left_out.clone())
    }

    /// Returns the coefficients per unit of each feature on top of the line, in the regression's
    /// scale, or `None` while the line predicts alone.
    pub fn coefficients(&self) -> Option<Vec<f64>> {
        self.regression.as_ref().map(Regression::coefficients)
    }

    fn regression_for(&self, features: &[f64]) -> Option<&Regression> {
        self.regression
            .as_ref()
            .filter(|r| r.features() == features.len())
    }

    fn line(&self, cost: f64) -> f64 {
        let share = cost / self.full_cost;
        let smallest = self.samples.iter().min_by(|a, b| a.cost.total_cmp(&b.cost));
        let line = match smallest {
            Some(anchor) if anchor.cost < 0.98 * self.full_cost => {
                let slope = (1.0 - anchor.ratio) / (1.0 - anchor.cost / self.full_cost);
                // A cheaper network that is slower is noise or an unusual device; the line must
                // not fall.
                1.0 - slope.max(0.0) * (1.0 - share)
            }
            _ => share,
        };
        line.max(1e-3)
    }
}

#[cfg(test)]
mod tests;
