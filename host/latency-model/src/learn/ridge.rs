//! Kernel ridge regression with closed-form leave-one-out errors.

use serde::{Deserialize, Serialize};

use super::linalg::{cholesky, solve_lower, solve_upper};

/// Ridge regression with an unpenalised intercept, in dual form, fitted to centred samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ridge {
    /// Dual weights.
    pub dual: Vec<f64>,
    /// The leave-one-out residuals r_i / (1 - H_ii) (Hastie et al., Elements of Statistical
    /// Learning, 7.10). H includes the intercept's 1 / n.
    pub left_out: Vec<f64>,
    /// The predictive standard deviation of each left-out sample, in units of the noise.
    #[serde(rename = "left_out_spread")]
    pub left_out_deviation: Vec<f64>,
    penalty: f64,
    /// The Cholesky factor of the Gram matrix plus the penalty.
    factor: Vec<f64>,
}

impl Ridge {
    /// Fits centred `y` with the n x n Gram matrix; `None` if the system is singular or nearly
    /// so.
    pub fn fit(gram: &[f64], penalty: f64, y: &[f64]) -> Option<Self> {
        let n = y.len();
        let mut regular = gram.to_vec();
        for i in 0..n {
            regular[i * n + i] += penalty;
        }
        let factor = cholesky(&regular, n)?;
        let dual = solve_upper(&factor, n, &solve_lower(&factor, n, y));
        let mean = 1.0 / n as f64;
        // 1 - H_ii of the penalised part is penalty x (G + penalty)^-1_ii. Where the fit
        // interpolates a sample, this vanishes and the leave-one-out residual is meaningless.
        let slack: Option<Vec<f64>> = (0..n)
            .map(|i| {
                let mut unit = vec![0.0; n];
                unit[i] = 1.0;
                let column = solve_lower(&factor, n, &unit);
                let own = penalty * column.iter().map(|v| v * v).sum::<f64>();
                Some(own - mean).filter(|slack| *slack > 1e-6 * own)
            })
            .collect();
        let slack = slack?;
        Some(Self {
            left_out: dual
                .iter()
                .zip(&slack)
                .map(|(d, slack)| penalty * d / slack)
                .collect(),
            left_out_deviation: slack.iter().map(|slack| (1.0 / slack).sqrt()).collect(),
            dual,
            penalty,
            factor,
        })
    }

    /// Returns the predictive standard deviation in units of the noise, that of the Gaussian
    /// process whose mean is this ridge (Rasmussen and Williams, Gaussian Processes for Machine
    /// Learning, 2.25). `covariance` is that of the point with each sample, `own` with itself.
    pub fn predictive_deviation(&self, covariance: &[f64], own: f64) -> f64 {
        let n = self.dual.len();
        let explained: f64 = solve_lower(&self.factor, n, covariance)
            .iter()
            .map(|v| v * v)
            .sum();
        (1.0 + 1.0 / n as f64 + (own - explained).max(0.0) / self.penalty).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::SeededRng;

    #[test]
    fn leave_one_out_residuals_equal_those_of_a_refit() {
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
        let left_out = Ridge::fit(&gram(&cx), penalty, &cy).unwrap().left_out;
        for i in 0..n {
            let rows: Vec<usize> = (0..n).filter(|&j| j != i).collect();
            let (cx, cy, mx, my) = centre(&rows);
            let dual = Ridge::fit(&gram(&cx), penalty, &cy).unwrap().dual;
            let weight = |k: usize| cx.iter().zip(&dual).map(|(v, d)| v[k] * d).sum::<f64>();
            let predicted = my + weight(0) * (x[i][0] - mx[0]) + weight(1) * (x[i][1] - mx[1]);
            assert!((left_out[i] - (y[i] - predicted)).abs() < 1e-9);
        }
    }

    #[test]
    fn the_predictive_deviation_matches_the_closed_form() {
        // One feature, two samples at -1 and 1: the posterior variance of the weight is 1 / (2 /
        // penalty + 1) under a unit prior.
        let (x, penalty) = ([-1.0, 1.0], 0.5);
        let gram: Vec<f64> = x
            .iter()
            .flat_map(|a| x.iter().map(move |b| a * b))
            .collect();
        let ridge = Ridge::fit(&gram, penalty, &[-2.0, 2.0]).unwrap();
        for point in [0.0, 1.0, 5.0] {
            let covariance = x.map(|x| x * point);
            let variance: f64 = 1.0 + 0.5 + point * point / (2.0 / penalty + 1.0) / penalty;
            let deviation = ridge.predictive_deviation(&covariance, point * point);
            assert!(
                (deviation - variance.sqrt()).abs() < 1e-12,
                "{point}: {deviation}"
            );
        }
    }
}
