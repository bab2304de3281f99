//! Ridge regression of the residuals against the line, with a conformal interval.

use serde::{Deserialize, Serialize};

use super::config::LatencyModelConfig;
use super::ranks::{kendall, spearman};
use super::ridge::Ridge;

/// The quality of the fit, by leaving out one sample at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelFit {
    /// Number of samples.
    pub samples: usize,
    /// Mean of |predicted - measured| / measured.
    pub mean_relative_error: f64,
    /// Largest |predicted - measured| / measured.
    pub max_relative_error: f64,
    /// Mean of |line - measured| / measured for the line through the two anchors, for comparison.
    pub line_relative_error: f64,
    /// Spearman's rank correlation of predicted and measured.
    pub spearman: f64,
    /// Kendall's tau-b of predicted and measured.
    pub kendall: f64,
    /// The ridge penalty in use.
    pub penalty: f64,
}

/// A measured configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Sample {
    pub features: Vec<f64>,
    pub cost: f64,
    pub ratio: f64,
}

/// A fitted regression over standardised features.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Regression {
    mean: Vec<f64>,
    deviation: Vec<f64>,
    /// The samples, standardised.
    rows: Vec<Vec<f64>>,
    ridge: Ridge,
    weights: Vec<f64>,
    intercept: f64,
    /// The leave-one-out predictions.
    pub left_out: Vec<f64>,
    /// The factor that turns a predictive standard deviation into the half-width of a 95 %
    /// interval.
    #[serde(rename = "reach")]
    conformal_quantile: f64,
    pub fit: ModelFit,
}

impl Regression {
    /// Fits samples; `lines` are the ratios that the line predicts for them. `None` for too few
    /// samples, or if no penalty gives a regular system.
    pub fn fit(config: &LatencyModelConfig, samples: &[Sample], lines: &[f64]) -> Option<Self> {
        let n = samples.len();
        let p = samples.first()?.features.len();
        if n < config.min_samples.max(3) || p == 0 {
            return None;
        }
        let count = n as f64;
        let (mean, deviation) = moments(samples, p);
        let rows: Vec<Vec<f64>> = samples
            .iter()
            .map(|s| standardised(&s.features, &mean, &deviation).collect())
            .collect();
        let y: Vec<f64> = samples
            .iter()
            .zip(lines)
            .map(|(s, &line)| config.residual(line, s.ratio))
            .collect();
        let intercept = y.iter().sum::<f64>() / count;
        let centred: Vec<f64> = y.iter().map(|v| v - intercept).collect();
        // The dual form is n x n for any number of features.
        let gram: Vec<f64> = (0..n * n)
            .map(|k| covariance(&rows[k / n], &rows[k % n]))
            .collect();
        let fits = config
            .penalties
            .iter()
            .filter_map(|&penalty| Some((penalty, Ridge::fit(&gram, penalty * count, &centred)?)));
        let (penalty, ridge) = simplest(fits.collect())?;
        let weights: Vec<f64> = (0..p)
            .map(|j| (0..n).map(|i| ridge.dual[i] * rows[i][j]).sum::<f64>() / p as f64)
            .collect();
        let left_out: Vec<f64> = (0..n)
            .map(|i| config.combine(lines[i], y[i] - ridge.left_out[i]))
            .collect();
        Some(Self {
            fit: quality(samples, lines, &left_out, penalty),
            mean,
            deviation,
            conformal_quantile: conformal_quantile(&ridge),
            rows,
            ridge,
            weights,
            intercept,
            left_out,
        })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.weights.len()
    }

    /// The predicted residual against the line.
    pub fn residual(&self, features: &[f64]) -> f64 {
        let scaled = standardised(features, &self.mean, &self.deviation);
        self.intercept + scaled.zip(&self.weights).map(|(x, w)| x * w).sum::<f64>()
    }

    /// Half the width of the 95 % interval of a residual.
    pub fn half_width(&self, features: &[f64]) -> f64 {
        let point: Vec<f64> = standardised(features, &self.mean, &self.deviation).collect();
        let with_samples: Vec<f64> = self
            .rows
            .iter()
            .map(|row| covariance(row, &point))
            .collect();
        let own = covariance(&point, &point);
        self.conformal_quantile * self.ridge.predictive_deviation(&with_samples, own)
    }

    /// Coefficients per unit of each feature.
    pub fn coefficients(&self) -> Vec<f64> {
        self.weights
            .iter()
            .zip(&self.deviation)
            .map(|(w, d)| w / d)
            .collect()
    }
}

/// Mean and standard deviation of each of `p` features; the deviation of a constant one is
/// infinite, which removes it.
fn moments(samples: &[Sample], p: usize) -> (Vec<f64>, Vec<f64>) {
    let count = samples.len() as f64;
    let one = |j: usize| {
        let values = || samples.iter().map(|s| s.features[j]);
        let mean = values().sum::<f64>() / count;
        let variance = values().map(|v| (v - mean).powi(2)).sum::<f64>() / count;
        let deviation = variance.sqrt();
        if deviation > 1e-9 * (1.0 + mean.abs()) {
            (mean, deviation)
        } else {
            (mean, f64::INFINITY)
        }
    };
    (0..p).map(one).unzip()
}

fn quality(samples: &[Sample], lines: &[f64], predicted: &[f64], penalty: f64) -> ModelFit {
    let count = samples.len() as f64;
    let measured: Vec<f64> = samples.iter().map(|s| s.ratio).collect();
    let relative = |values: &[f64]| -> Vec<f64> {
        values
            .iter()
            .zip(&measured)
            .map(|(v, m)| (v - m).abs() / m)
            .collect()
    };
    let errors = relative(predicted);
    ModelFit {
        samples: samples.len(),
        mean_relative_error: errors.iter().sum::<f64>() / count,
        max_relative_error: errors.iter().copied().fold(0.0, f64::max),
        line_relative_error: relative(lines).iter().sum::<f64>() / count,
        spearman: spearman(predicted, &measured),
        kendall: kendall(predicted, &measured),
        penalty,
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

/// Returns the fit with the largest penalty whose leave-one-out errors are within one standard
/// error of the best (Breiman et al., Classification and Regression Trees, 3.4.3, on paired
/// differences).
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

/// The linear kernel, averaged over features.
fn covariance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / a.len().max(1) as f64
}

/// Returns the 95 % conformal quantile of the leave-one-out errors in units of their predictive
/// standard deviations. With fewer than 19 samples there is none, and the largest error takes its
/// place.
fn conformal_quantile(ridge: &Ridge) -> f64 {
    let mut scores: Vec<f64> = ridge
        .left_out
        .iter()
        .zip(&ridge.left_out_deviation)
        .map(|(residual, deviation)| residual.abs() / deviation)
        .collect();
    scores.sort_by(f64::total_cmp);
    let rank = (0.95 * (scores.len() + 1) as f64).ceil() as usize;
    scores[rank.min(scores.len()) - 1]
}
