//! Regression from the costs of a configuration to its latency, with a calibrated prediction interval.

use crate::LatencyModelError;
use agent_protocol::stats::Interval;
use serde::{Deserialize, Serialize};

mod linalg;
mod ranks;
mod ridge;

pub use ranks::{kendall, spearman};
use ridge::Ridge;

/// What the regression is linear in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The latency ratio itself: latency is a sum over layers.
    #[default]
    Linear,
    /// Its logarithm: relative errors count the same for fast and slow networks.
    Log,
}

/// Settings of [`LatencyModel`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LatencyModelConfig {
    /// Scale of the regression.
    pub scale: Scale,
    /// Below so many measured candidates only the line through the two anchors is used.
    pub min_samples: usize,
    /// Ridge penalties, relative to the number of samples, of which the one with the least leave-one-out error is taken.
    pub penalties: Vec<f64>,
    /// The regression may differ from the line at most by this factor, so that it does not run away where nothing was
    /// measured.
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

/// How good the model is, by leaving one measured candidate out at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFit {
    /// Measured candidates.
    pub samples: usize,
    /// Mean of |predicted - measured| / measured.
    pub mean_relative_error: f64,
    /// Largest |predicted - measured| / measured.
    pub max_relative_error: f64,
    /// Mean of |line - measured| / measured with the line through the two anchors, for comparison.
    pub line_relative_error: f64,
    /// Spearman's rank correlation of predicted and measured.
    pub spearman: f64,
    /// Kendall's tau-b of predicted and measured.
    pub kendall: f64,
    /// The ridge penalty in use.
    pub penalty: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sample {
    features: Vec<f64>,
    cost: f64,
    ratio: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Regression {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// The samples, standardised.
    rows: Vec<Vec<f64>>,
    ridge: Ridge,
    weights: Vec<f64>,
    intercept: f64,
    /// What each sample would have been predicted as without it.
    left_out: Vec<f64>,
    /// What the spread of a prediction is multiplied by to hold 95 of 100 truths.
    reach: f64,
    fit: ModelFit,
}

/// Predicts the latency of a candidate relative to the original network.
///
/// Latency is first taken to follow a cost: the sum of the kernels' times where they are known, else the MACs. A line through two
/// anchors, the full network (all of the cost, ratio 1) and the cheapest one measured, tells how; before there is a second anchor,
/// latency is taken to be proportional to the cost. Once there are enough samples, ridge regression over standardised per-layer
/// features learns what the line gets wrong; the ridge pulls it back to the line where the samples say nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyModel {
    config: LatencyModelConfig,
    full_cost: f64,
    samples: Vec<Sample>,
    regression: Option<Regression>,
}

impl LatencyModel {
    /// A model of a network whose cost is `full_cost` unpruned, in any unit.
    ///
    /// # Errors
    /// [`LatencyModelError::InvalidOption`] if the settings make no sense.
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

    /// Learns measured latency ratios: features, cost and ratio of each. The full network need not be told, its ratio is 1.
    ///
    /// # Errors
    /// [`LatencyModelError::Sample`] if a ratio is not positive, a feature or a cost is not finite, or the number of features
    /// changed; what came before is learned.
    pub fn observe(
        &mut self,
        samples: impl IntoIterator<Item = (Vec<f64>, f64, f64)>,
    ) -> Result<(), LatencyModelError> {
        let mut samples = samples.into_iter();
        let outcome =
            samples.try_for_each(|(features, cost, ratio)| self.add(features, cost, ratio));
        self.regression = self.regress();
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

    /// Number of samples.
    pub fn len(&self) -> usize {
        self.samples.len()
    }

    /// True before the first sample.
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    /// Predicted latency ratio, positive. Features of another number than before are ignored.
    pub fn predict(&self, features: &[f64], cost: f64) -> f64 {
        let line = self.line(cost);
        match &self.regression {
            Some(regression) if regression.weights.len() == features.len() => {
                self.combine(line, regression.residual(features))
            }
            _ => line,
        }
    }

    /// Predicted latency ratio with the interval that should hold 95 of 100 measured ones; `None` as long as only the line is used.
    ///
    /// The interval is that of the Gaussian process behind the ridge, scaled so that it would have held the samples, each left
    /// out in turn (a normalised jackknife, as Lei et al., J. Am. Stat. Assoc. 113 (2018), 1094-1111, do for conformal prediction).
    pub fn predict_interval(&self, features: &[f64], cost: f64) -> Option<Interval> {
        let regression = self
            .regression
            .as_ref()
            .filter(|r| r.weights.len() == features.len())?;
        let line = self.line(cost);
        let residual = regression.residual(features);
        let half = regression.reach * regression.spread(features);
        Some(Interval {
            value: self.combine(line, residual),
            low: self.combine(line, residual - half),
            high: self.combine(line, residual + half),
        })
    }

    /// How good it is; `None` as long as only the line is used.
    pub fn fit(&self) -> Option<&ModelFit> {
        self.regression.as_ref().map(|r| &r.fit)
    }

    /// What each sample would have been predicted as without it, in the order of observing; empty as long as only the line is used.
    pub fn left_out(&self) -> Vec<f64> {
        let regression = self.regression.as_ref();
        regression.map_or(Vec::new(), |r| r.left_out.clone())
    }

    /// Coefficients per unit of each feature on top of the line, in the regression's scale; `None` as long as only
    /// the line is used.
    pub fn coefficients(&self) -> Option<Vec<f64>> {
        let r = self.regression.as_ref()?;
        Some(
            r.weights
                .iter()
                .zip(&r.deviation)
                .map(|(w, d)| w / d)
                .collect(),
        )
    }

    fn line(&self, cost: f64) -> f64 {
        let share = cost / self.full_cost;
        let smallest = self.samples.iter().min_by(|a, b| a.cost.total_cmp(&b.cost));
        let line = match smallest {
            Some(anchor) if anchor.cost < 0.98 * self.full_cost => {
                let slope = (1.0 - anchor.ratio) / (1.0 - anchor.cost / self.full_cost);
                // A slower network of less cost is noise or an odd device; the line must not fall.
                1.0 - slope.max(0.0) * (1.0 - share)
            }
            _ => share,
        };
        line.max(1e-3)
    }

    fn combine(&self, line: f64, residual: f64) -> f64 {
        let raw = match self.config.scale {
            Scale::Linear => line + residual,
            Scale::Log => line * residual.exp(),
        };
        raw.clamp(
            line / self.config.max_correction,
            line * self.config.max_correction,
        )
    }

    fn regress(&self) -> Option<Regression> {
        let n = self.samples.len();
        let p = self.samples.first()?.features.len();
        if n < self.config.min_samples.max(3) || p == 0 {
            return None;
        }
        let count = n as f64;
        let mean: Vec<f64> = (0..p)
            .map(|j| self.samples.iter().map(|s| s.features[j]).sum::<f64>() / count)
            .collect();
        let deviation: Vec<f64> = (0..p)
            .map(|j| {
                (self
                    .samples
                    .iter()
                    .map(|s| (s.features[j] - mean[j]).powi(2))
                    .sum::<f64>()
                    / count)
                    .sqrt()
            })
            .zip(&mean)
            .map(|(d, m)| {
                if d > 1e-9 * (1.0 + m.abs()) {
                    d
                } else {
                    f64::INFINITY
                }
            })
            .collect();
        let rows: Vec<Vec<f64>> = self
            .samples
            .iter()
            .map(|s| standardised(&s.features, &mean, &deviation).collect())
            .collect();
        let lines: Vec<f64> = self.samples.iter().map(|s| self.line(s.cost)).collect();
        let y: Vec<f64> = self
            .samples
            .iter()
            .zip(&lines)
            .map(|(s, line)| match self.config.scale {
                Scale::Linear => s.ratio - line,
                Scale::Log => (s.ratio / line).ln(),
            })
            .collect();
        let intercept = y.iter().sum::<f64>() / count;
        let centred: Vec<f64> = y.iter().map(|v| v - intercept).collect();
        // Dual form: n x n, however many features there are.
        let gram: Vec<f64> = (0..n * n)
            .map(|k| covariance(&rows[k / n], &rows[k % n]))
            .collect();
        let fits =
            self.config.penalties.iter().filter_map(|&penalty| {
                Some((penalty, Ridge::fit(&gram, penalty * count, &centred)?))
            });
        let (penalty, ridge) = simplest(fits.collect())?;
        let weights: Vec<f64> = (0..p)
            .map(|j| (0..n).map(|i| ridge.dual[i] * rows[i][j]).sum::<f64>() / p as f64)
            .collect();
        let left_out = &ridge.left_out;
        let predicted: Vec<f64> = (0..n)
            .map(|i| self.combine(lines[i], y[i] - left_out[i]))
            .collect();
        let measured: Vec<f64> = self.samples.iter().map(|s| s.ratio).collect();
        let relative = |values: &[f64]| -> Vec<f64> {
            values
                .iter()
                .zip(&measured)
                .map(|(v, m)| (v - m).abs() / m)
                .collect()
        };
        let errors = relative(&predicted);
        let fit = ModelFit {
            samples: n,
            mean_relative_error: errors.iter().sum::<f64>() / count,
            max_relative_error: errors.iter().copied().fold(0.0, f64::max),
            line_relative_error: relative(&lines).iter().sum::<f64>() / count,
            spearman: spearman(&predicted, &measured),
            kendall: kendall(&predicted, &measured),
            penalty,
        };
        Some(Regression {
            mean,
            deviation,
            reach: reach(&ridge),
            rows,
            ridge,
            weights,
            intercept,
            left_out: predicted,
            fit,
        })
    }
}

impl Regression {
    fn residual(&self, features: &[f64]) -> f64 {
        let scaled = standardised(features, &self.mean, &self.deviation);
        self.intercept + scaled.zip(&self.weights).map(|(x, w)| x * w).sum::<f64>()
    }

    fn spread(&self, features: &[f64]) -> f64 {
        let point: Vec<f64> = standardised(features, &self.mean, &self.deviation).collect();
        let with_samples: Vec<f64> = self
            .rows
            .iter()
            .map(|row| covariance(row, &point))
            .collect();
        self.ridge.spread(&with_samples, covariance(&point, &point))
    }
}

fn standardised<'a>(
    features: &'a [f64],
    mean: &'a [f64],
    deviation: &'a [f64],
) -> impl Iterator<Item = f64> + 'a {
    features
        .iter()
        .zip(mean)
        .zip(deviation)
        .map(|((f, m), d)| (f - m) / d)
}

/// Of several fits the one with the largest penalty whose left-out errors are no larger than the best one's as far as the samples
/// can tell (the one-standard-error rule of Breiman et al., Classification and Regression Trees, 3.4.3, on paired differences).
fn simplest(fits: Vec<(f64, Ridge)>) -> Option<(f64, Ridge)> {
    let errors = |ridge: &Ridge| -> Vec<f64> { ridge.left_out.iter().map(|e| e * e).collect() };
    let sum = |fit: &(f64, Ridge)| errors(&fit.1).iter().sum::<f64>();
    let best = errors(&fits.iter().min_by(|a, b| sum(a).total_cmp(&sum(b)))?.1);
    let count = best.len() as f64;
    let is_as_good = |fit: &(f64, Ridge)| {
        let worse: Vec<f64> = errors(&fit.1)
            .iter()
            .zip(&best)
            .map(|(e, b)| e - b)
            .collect();
        let mean = worse.iter().sum::<f64>() / count;
        let variance = worse.iter().map(|w| (w - mean).powi(2)).sum::<f64>() / (count - 1.0);
        mean <= (variance / count).sqrt()
    };
    fits.into_iter()
        .filter(is_as_good)
        .max_by(|a, b| a.0.total_cmp(&b.0))
}

/// The linear kernel, the mean over features.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len().max(1) as f64
}

/// The smallest factor with which the spreads hold 95 of 100 of the left-out samples, one more counted as not held, as conformal
/// prediction does; with fewer than 19 samples there is none, and the largest is taken.
fn reach(ridge: &Ridge) -> f64 {
    let mut scores: Vec<f64> = ridge
        .left_out
        .iter()
        .zip(&ridge.left_out_spread)
        .map(|(residual, spread)| residual.abs() / spread)
        .collect();
    scores.sort_by(f64::total_cmp);
    let rank = (0.95 * (scores.len() + 1) as f64).ceil() as usize;
    scores[rank.min(scores.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;

    const WEIGHTS: [f64; 5] = [0.3, 0.05, 0.25, 0.1, 0.2];

    /// A network of five layers whose latency is 0.1 plus WEIGHTS times each layer's share, with all costs equal.
    fn sample(rng: &mut SeededRng) -> (Vec<f64>, f64, f64) {
        let shares: Vec<f64> = (0..5).map(|_| 0.2 + 0.8 * rng.unit()).collect();
        let cost = shares.iter().sum::<f64>() * 200.0;
        let ratio = 0.1 + shares.iter().zip(WEIGHTS).map(|(s, w)| s * w).sum::<f64>();
        (shares, cost, ratio)
    }

    #[test]
    fn before_samples_latency_follows_the_cost_and_then_the_line_through_both_anchors() {
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
        assert_eq!(model.predict(&[], 500.0), 0.5);
        model.observe([(vec![], 200.0, 0.6)]).unwrap();
        assert!((model.predict(&[], 200.0) - 0.6).abs() < 1e-12);
        assert!((model.predict(&[], 600.0) - 0.8).abs() < 1e-12);
        assert!((model.predict(&[], 1000.0) - 1.0).abs() < 1e-12);
        assert!(model.fit().is_none());
    }

    #[test]
    fn known_coefficients_are_recovered_in_value_and_rank() {
        let mut rng = SeededRng::new(3, 0);
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
        for _ in 0..60 {
            let (features, cost, ratio) = sample(&mut rng);
            model.observe([(features, cost, ratio)]).unwrap();
        }
        let fit = *model.fit().unwrap();
        assert!(
            fit.mean_relative_error < 0.005 && fit.spearman > 0.99 && fit.kendall > 0.97,
            "{fit:?}"
        );
        assert!(
            fit.mean_relative_error < 0.2 * fit.line_relative_error,
            "{fit:?}"
        );
        // The line already gives every layer the same slope per share; the regression adds the rest.
        let slope = (model.line(1000.0) - model.line(0.0)) / 5.0;
        for (found, known) in model.coefficients().unwrap().iter().zip(WEIGHTS) {
            assert!(
                (found + slope - known).abs() < 0.02,
                "{found} + {slope} != {known}"
            );
        }
        for _ in 0..40 {
            let (features, cost, ratio) = sample(&mut rng);
            assert!((model.predict(&features, cost) - ratio).abs() < 0.01 * ratio);
        }
    }

    #[test]
    fn noise_does_not_hide_the_ranks_in_either_scale() {
        for scale in [Scale::Linear, Scale::Log] {
            let mut rng = SeededRng::new(9, 0);
            let config = LatencyModelConfig {
                scale,
                ..LatencyModelConfig::default()
            };
            let mut model = LatencyModel::new(config, 1000.0).unwrap();
            for _ in 0..50 {
                let (features, cost, ratio) = sample(&mut rng);
                model
                    .observe([(features, cost, ratio * (1.0 + 0.02 * rng.normal()))])
                    .unwrap();
            }
            let (mut predicted, mut known) = (Vec::new(), Vec::new());
            for _ in 0..50 {
                let (features, cost, ratio) = sample(&mut rng);
                predicted.push(model.predict(&features, cost));
                known.push(ratio);
            }
            assert!(spearman(&predicted, &known) > 0.95, "{scale:?}");
            assert!(
                model.fit().unwrap().mean_relative_error < 0.04,
                "{:?}",
                model.fit()
            );
        }
    }

    #[test]
    fn intervals_hold_95_of_100_truths_and_are_no_wider_than_that_takes() {
        let (mut held, mut asked, mut width) = (0, 0, 0.0);
        for seed in 0..20 {
            let mut rng = SeededRng::new(seed, 3);
            let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
            let noisy = |rng: &mut SeededRng| {
                let (features, cost, ratio) = sample(rng);
                (features, cost, ratio + 0.01 * rng.normal())
            };
            for _ in 0..60 {
                let (features, cost, ratio) = noisy(&mut rng);
                model.observe([(features, cost, ratio)]).unwrap();
            }
            for _ in 0..100 {
                let (features, cost, ratio) = noisy(&mut rng);
                let found = model.predict_interval(&features, cost).unwrap();
                assert!(found.low <= found.value && found.value <= found.high);
                assert_eq!(found.value, model.predict(&features, cost));
                held += usize::from(found.low <= ratio && ratio <= found.high);
                width += (found.high - found.low) / 2.0;
                asked += 1;
            }
        }
        let share = held as f64 / f64::from(asked);
        assert!((0.93..0.985).contains(&share), "{share}");
        // Noise alone asks for 1.96 x 0.01.
        let mean = width / f64::from(asked);
        assert!((0.018..0.026).contains(&mean), "{mean}");
    }

    #[test]
    fn senseless_samples_are_refused_and_a_stored_model_predicts_the_same() {
        let mut rng = SeededRng::new(4, 0);
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000.0).unwrap();
        for _ in 0..12 {
            let (features, cost, ratio) = sample(&mut rng);
            model.observe([(features, cost, ratio)]).unwrap();
        }
        assert!(model.observe([(vec![0.5; 5], 500.0, f64::NAN)]).is_err());
        assert!(model.observe([(vec![0.5; 4], 500.0, 0.5)]).is_err());
        assert!(
            model
                .observe([(vec![f64::INFINITY; 5], 500.0, 0.5)])
                .is_err()
        );
        assert!(LatencyModel::new(LatencyModelConfig::default(), 0.0).is_err());
        let stored: LatencyModel =
            serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
        assert_eq!(
            stored.predict(&[0.5; 5], 500.0),
            model.predict(&[0.5; 5], 500.0)
        );
    }
}
