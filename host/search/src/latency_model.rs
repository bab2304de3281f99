//! A latency model that learns from the measured candidates and screens those not measured yet.

use crate::SearchError;
use crate::linalg::{cholesky, solve_lower, solve_upper};
use serde::{Deserialize, Serialize};

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
    macs: f64,
    ratio: f64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Regression {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    weights: Vec<f64>,
    intercept: f64,
    fit: ModelFit,
}

/// Predicts the latency of a candidate relative to the original network.
///
/// A line through two anchors, the full network (all MACs, ratio 1) and the one with the fewest MACs measured, tells
/// how latency follows MACs; before there is a second anchor, latency is taken to be proportional to MACs. Once there
/// are enough samples, ridge regression over standardised per-layer features learns what the line gets wrong; the
/// ridge pulls it back to the line where the samples say nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LatencyModel {
    config: LatencyModelConfig,
    full_macs: f64,
    samples: Vec<Sample>,
    regression: Option<Regression>,
}

impl LatencyModel {
    /// A model of a network that has `full_macs` multiply-accumulates unpruned.
    ///
    /// # Errors
    /// [`SearchError::InvalidOption`] if the settings make no sense.
    pub fn new(config: LatencyModelConfig, full_macs: u64) -> Result<Self, SearchError> {
        let invalid = |option, reason: &str| {
            Err(SearchError::InvalidOption {
                option,
                reason: reason.into(),
            })
        };
        if full_macs == 0 {
            return invalid("full_macs", "the network has no multiply-accumulates");
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
            full_macs: full_macs as f64,
            samples: Vec::new(),
            regression: None,
        })
    }

    /// Learns a measured latency ratio. The full network need not be told, its ratio is 1.
    ///
    /// # Errors
    /// [`SearchError::Environment`] if the ratio is not positive, a feature is not finite, or their number changed.
    pub fn observe(&mut self, features: &[f64], macs: u64, ratio: f64) -> Result<(), SearchError> {
        let unusable = |reason: String| {
            Err(SearchError::Environment {
                what: "latency sample",
                reason,
            })
        };
        if !(ratio > 0.0 && ratio.is_finite()) {
            return unusable(format!("ratio {ratio}"));
        }
        if features.iter().any(|f| !f.is_finite()) {
            return unusable("a feature is not a number".into());
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
            features: features.to_vec(),
            macs: macs as f64,
            ratio,
        });
        self.regression = self.regress();
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
    pub fn predict(&self, features: &[f64], macs: u64) -> f64 {
        let line = self.line(macs as f64);
        match &self.regression {
            Some(regression) if regression.weights.len() == features.len() => {
                self.combine(line, regression.residual(features))
            }
            _ => line,
        }
    }

    /// How good it is; `None` as long as only the line is used.
    pub fn fit(&self) -> Option<&ModelFit> {
        self.regression.as_ref().map(|r| &r.fit)
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

    fn line(&self, macs: f64) -> f64 {
        let share = macs / self.full_macs;
        let smallest = self.samples.iter().min_by(|a, b| a.macs.total_cmp(&b.macs));
        let line = match smallest {
            Some(anchor) if anchor.macs < 0.98 * self.full_macs => {
                let slope = (1.0 - anchor.ratio) / (1.0 - anchor.macs / self.full_macs);
                // A slower network with fewer MACs is noise or an odd device; the line must not fall.
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
        let x: Vec<Vec<f64>> = self
            .samples
            .iter()
            .map(|s| {
                s.features
                    .iter()
                    .zip(&mean)
                    .zip(&deviation)
                    .map(|((f, m), d)| (f - m) / d)
                    .collect()
            })
            .collect();
        let lines: Vec<f64> = self.samples.iter().map(|s| self.line(s.macs)).collect();
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
            .map(|k| {
                x[k / n]
                    .iter()
                    .zip(&x[k % n])
                    .map(|(a, b)| a * b)
                    .sum::<f64>()
                    / p as f64
            })
            .collect();
        let mut best: Option<(f64, f64, Vec<f64>, Vec<f64>)> = None;
        for &penalty in &self.config.penalties {
            let Some((dual, left_out)) = leave_one_out(&gram, n, penalty * count, &centred) else {
                continue;
            };
            let error: f64 = left_out.iter().map(|e| e * e).sum();
            if best.as_ref().is_none_or(|(least, ..)| error < *least) {
                best = Some((error, penalty, dual, left_out));
            }
        }
        let (_, penalty, dual, left_out) = best?;
        let weights: Vec<f64> = (0..p)
            .map(|j| (0..n).map(|i| dual[i] * x[i][j]).sum::<f64>() / p as f64)
            .collect();
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
            weights,
            intercept,
            fit,
        })
    }
}

impl Regression {
    fn residual(&self, features: &[f64]) -> f64 {
        let scaled = features
            .iter()
            .zip(&self.mean)
            .zip(&self.deviation)
            .map(|((f, m), d)| (f - m) / d);
        self.intercept + scaled.zip(&self.weights).map(|(x, w)| x * w).sum::<f64>()
    }
}

/// Ridge with an unpenalised intercept in dual form: dual weights and the residual of each sample when left out,
/// r_i / (1 - H_ii) (Hastie et al., Elements of Statistical Learning, 7.10), with H including the intercept's 1 / n.
fn leave_one_out(gram: &[f64], n: usize, penalty: f64, y: &[f64]) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut regular = gram.to_vec();
    for i in 0..n {
        regular[i * n + i] += penalty;
    }
    let l = cholesky(&regular, n)?;
    let dual = solve_upper(&l, n, &solve_lower(&l, n, y));
    let left_out = (0..n)
        .map(|i| {
            let mut unit = vec![0.0; n];
            unit[i] = 1.0;
            let column = solve_lower(&l, n, &unit);
            // 1 - H_ii of the penalised part is penalty x (G + penalty)^-1_ii.
            let slack = penalty * column.iter().map(|v| v * v).sum::<f64>() - 1.0 / n as f64;
            penalty * dual[i] / slack.max(1e-3)
        })
        .collect();
    Some((dual, left_out))
}

/// Kendall's tau-b of two samples of the same length; 0 where one of them is constant.
pub fn kendall(a: &[f64], b: &[f64]) -> f64 {
    let (mut score, mut pairs_a, mut pairs_b) = (0.0, 0.0, 0.0);
    for i in 0..a.len().min(b.len()) {
        for j in 0..i {
            let sign = |d: f64| if d == 0.0 { 0.0 } else { d.signum() };
            let (da, db) = (sign(a[i] - a[j]), sign(b[i] - b[j]));
            score += da * db;
            pairs_a += da * da;
            pairs_b += db * db;
        }
    }
    let norm = (pairs_a * pairs_b).sqrt();
    if norm > 0.0 { score / norm } else { 0.0 }
}

/// Spearman's rank correlation of two samples of the same length, ties at their mean rank; 0 where one of them is
/// constant.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (ranks(&a[..n]), ranks(&b[..n]));
    let mean = (n as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| {
        x.iter()
            .zip(y)
            .map(|(x, y)| (x - mean) * (y - mean))
            .sum::<f64>()
    };
    let norm = (product(&a, &a) * product(&b, &b)).sqrt();
    if norm > 0.0 {
        product(&a, &b) / norm
    } else {
        0.0
    }
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let end = (start..order.len())
            .find(|&k| values[order[k]] != values[order[start]])
            .unwrap_or(order.len());
        for &i in &order[start..end] {
            ranks[i] = (start + end - 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRng;

    const WEIGHTS: [f64; 5] = [0.3, 0.05, 0.25, 0.1, 0.2];

    /// A network of five layers whose latency is 0.1 plus WEIGHTS times each layer's share, with all MACs equal.
    fn sample(rng: &mut SeededRng) -> (Vec<f64>, u64, f64) {
        let shares: Vec<f64> = (0..5).map(|_| 0.2 + 0.8 * rng.unit()).collect();
        let macs = (shares.iter().sum::<f64>() * 200.0) as u64;
        let ratio = 0.1 + shares.iter().zip(WEIGHTS).map(|(s, w)| s * w).sum::<f64>();
        (shares, macs, ratio)
    }

    #[test]
    fn before_samples_latency_follows_macs_and_then_the_line_through_both_anchors() {
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000).unwrap();
        assert_eq!(model.predict(&[], 500), 0.5);
        model.observe(&[], 200, 0.6).unwrap();
        assert!((model.predict(&[], 200) - 0.6).abs() < 1e-12);
        assert!((model.predict(&[], 600) - 0.8).abs() < 1e-12);
        assert!((model.predict(&[], 1000) - 1.0).abs() < 1e-12);
        assert!(model.fit().is_none());
    }

    #[test]
    fn known_coefficients_are_recovered_in_value_and_rank() {
        let mut rng = SeededRng::new(3, 0);
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000).unwrap();
        for _ in 0..60 {
            let (features, macs, ratio) = sample(&mut rng);
            model.observe(&features, macs, ratio).unwrap();
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
            let (features, macs, ratio) = sample(&mut rng);
            assert!((model.predict(&features, macs) - ratio).abs() < 0.01 * ratio);
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
            let mut model = LatencyModel::new(config, 1000).unwrap();
            for _ in 0..50 {
                let (features, macs, ratio) = sample(&mut rng);
                model
                    .observe(&features, macs, ratio * (1.0 + 0.02 * rng.normal()))
                    .unwrap();
            }
            let (mut predicted, mut known) = (Vec::new(), Vec::new());
            for _ in 0..50 {
                let (features, macs, ratio) = sample(&mut rng);
                predicted.push(model.predict(&features, macs));
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
    fn leave_one_out_equals_refitting_without_the_sample() {
        let mut rng = SeededRng::new(5, 0);
        let n = 8;
        let x: Vec<[f64; 2]> = (0..n).map(|_| [rng.normal(), rng.normal()]).collect();
        let y: Vec<f64> = x
            .iter()
            .map(|v| v[0] - 2.0 * v[1] + 0.1 * rng.normal())
            .collect();
        let centre = |rows: &[usize]| -> (Vec<[f64; 2]>, Vec<f64>, [f64; 2], f64) {
            let m = rows.len() as f64;
            let mx = [0, 1].map(|k| rows.iter().map(|&i| x[i][k]).sum::<f64>() / m);
            let my = rows.iter().map(|&i| y[i]).sum::<f64>() / m;
            (
                rows.iter()
                    .map(|&i| [x[i][0] - mx[0], x[i][1] - mx[1]])
                    .collect(),
                rows.iter().map(|&i| y[i] - my).collect(),
                mx,
                my,
            )
        };
        let gram = |x: &[[f64; 2]]| -> Vec<f64> {
            x.iter()
                .flat_map(|a| x.iter().map(|b| a[0] * b[0] + a[1] * b[1]))
                .collect()
        };
        let penalty = 0.7;
        let (cx, cy, ..) = centre(&(0..n).collect::<Vec<_>>());
        let (_, left_out) = leave_one_out(&gram(&cx), n, penalty, &cy).unwrap();
        for i in 0..n {
            let rows: Vec<usize> = (0..n).filter(|&j| j != i).collect();
            let (cx, cy, mx, my) = centre(&rows);
            let (dual, _) = leave_one_out(&gram(&cx), n - 1, penalty, &cy).unwrap();
            let weight = |k: usize| cx.iter().zip(&dual).map(|(v, d)| v[k] * d).sum::<f64>();
            let predicted = my + weight(0) * (x[i][0] - mx[0]) + weight(1) * (x[i][1] - mx[1]);
            assert!((left_out[i] - (y[i] - predicted)).abs() < 1e-9);
        }
    }

    #[test]
    fn rank_correlations_match_known_values() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0];
        assert_eq!(spearman(&a, &a), 1.0);
        assert_eq!(kendall(&a, &[5.0, 4.0, 3.0, 2.0, 1.0]), -1.0);
        assert!((spearman(&a, &[2.0, 1.0, 4.0, 3.0, 5.0]) - 0.8).abs() < 1e-12);
        assert!((kendall(&a, &[2.0, 1.0, 4.0, 3.0, 5.0]) - 0.6).abs() < 1e-12);
        assert!((kendall(&[1.0, 1.0, 2.0], &[1.0, 2.0, 3.0]) - 2.0 / 6f64.sqrt()).abs() < 1e-12);
        assert_eq!(spearman(&a, &[1.0; 5]), 0.0);
    }

    #[test]
    fn senseless_samples_are_refused_and_a_stored_model_predicts_the_same() {
        let mut rng = SeededRng::new(4, 0);
        let mut model = LatencyModel::new(LatencyModelConfig::default(), 1000).unwrap();
        for _ in 0..12 {
            let (features, macs, ratio) = sample(&mut rng);
            model.observe(&features, macs, ratio).unwrap();
        }
        assert!(model.observe(&[0.5; 5], 500, f64::NAN).is_err());
        assert!(model.observe(&[0.5; 4], 500, 0.5).is_err());
        assert!(model.observe(&[f64::INFINITY; 5], 500, 0.5).is_err());
        assert!(LatencyModel::new(LatencyModelConfig::default(), 0).is_err());
        let stored: LatencyModel =
            serde_json::from_str(&serde_json::to_string(&model).unwrap()).unwrap();
        assert_eq!(
            stored.predict(&[0.5; 5], 500),
            model.predict(&[0.5; 5], 500)
        );
    }
}
