//! The interval of a mean over processes.

use agent_protocol::stats::Interval;
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Mean, variance and number of the logarithms of values. Ratios and latencies multiply, so their
/// logarithms are averaged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Logarithms {
    /// The mean.
    pub mean: f64,
    /// The variance of one value.
    pub variance: f64,
    /// The number of values.
    pub count: f64,
}

impl Logarithms {
    /// Those of `values`; `None` for fewer than two values or one that is not positive.
    pub fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 2 || values.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
            return None;
        }
        let count = values.len() as f64;
        let mean = values.iter().map(|v| v.ln()).sum::<f64>() / count;
        let squares: f64 = values.iter().map(|v| (v.ln() - mean).powi(2)).sum();
        Some(Self {
            mean,
            variance: squares / (count - 1.0),
            count,
        })
    }

    /// Half of Student's 95 % interval of the mean.
    pub fn half_interval(&self) -> f64 {
        student(self.count - 1.0) * (self.variance / self.count).sqrt()
    }
}

/// The 97.5th percentile of Student's t for at least one degree of freedom.
pub fn student(freedom: f64) -> f64 {
    // Two constant series have no variance, and so no degrees of freedom by Welch's formula.
    StudentsT::new(0.0, 1.0, freedom.max(1.0)).map_or(f64::INFINITY, |t| t.inverse_cdf(0.975))
}

/// The fewest values in time that show whether each resembles those before.
const FEWEST_IN_TIME: usize = 8;
/// The highest correlation of neighbours that an interval is widened for.
const MOST_CORRELATED: f64 = 0.6;
/// Stretches of time whose means show a slow drift.
const STRETCHES: usize = 4;

/// How much larger the variance of a mean is than for independent values, from the correlation of
/// each value with the one before: that of a first-order autoregression. At least 1.
///
/// The correlation of few values is too low by about `(1 + 4 r) / n` (Kendall, *Note on bias in the
/// estimation of autocorrelation*, Biometrika 1954), which is added.
fn inflation(logarithms: &[f64], mean: f64) -> f64 {
    let squares: f64 = logarithms.iter().map(|v| (v - mean).powi(2)).sum();
    let pairs = logarithms.windows(2);
    let products: f64 = pairs.map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if squares <= 0.0 {
        return 1.0;
    }
    let found = products / squares;
    let correlation = found + (1.0 + 4.0 * found) / logarithms.len() as f64;
    let correlation = correlation.clamp(0.0, MOST_CORRELATED);
    (1.0 + correlation) / (1.0 - correlation)
}

/// Half of Student's interval over the means of consecutive stretches (batch means; Law and Kelton,
/// *Simulation Modeling and Analysis*).
fn half_over_stretches(logarithms: &[f64]) -> f64 {
    let end = |stretch: usize| stretch * logarithms.len() / STRETCHES;
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    let means: [f64; STRETCHES] =
        std::array::from_fn(|stretch| mean(&logarithms[end(stretch)..end(stretch + 1)]));
    let centre = mean(&means);
    let squares: f64 = means.iter().map(|v| (v - centre).powi(2)).sum();
    let (count, freedom) = (STRETCHES as f64, (STRETCHES - 1) as f64);
    student(freedom) * (squares / freedom / count).sqrt()
}

/// Returns the geometric mean of values, one per process in the order of time, with its 95 %
/// interval. `None` for fewer than two values or one that is not positive.
///
/// The pace of a device drifts, also while no other program runs, so processes resemble those just
/// before them. From eight values on, the half of the interval is the root of the sum of two
/// squares: Student's half over the values, widened where neighbours are correlated, and that over
/// the means of four stretches, which shows a slower drift. Either alone was too narrow on recorded
/// series (`host/docs/decisions.md`).
pub fn over_processes(values: &[f64]) -> Option<Interval> {
    let logarithms = Logarithms::of(values)?;
    let mean = logarithms.mean;
    let mut half = logarithms.half_interval();
    if values.len() >= FEWEST_IN_TIME {
        let all: Vec<f64> = values.iter().map(|v| v.ln()).collect();
        half = (half * inflation(&all, mean).sqrt()).hypot(half_over_stretches(&all));
    }
    Some(Interval {
        value: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use rand_distr::StandardNormal;

    use super::*;

    #[test]
    fn neighbours_that_resemble_each_other_widen_the_interval() {
        let values = |of: [i32; 8]| of.map(|v| (f64::from(v) * 0.01).exp());
        let half = |of| {
            let interval = over_processes(&values(of)).unwrap();
            (interval.high / interval.low).ln() / 2.0
        };
        // The deviation is 0.01 sqrt(8 / 7), and t with 7 degrees of freedom is 2.3646243. All
        // stretches have the same mean.
        let independent = 2.364_624_3 * 0.01 / 7f64.sqrt();
        let alternating = half([1, -1, 1, -1, 1, -1, 1, -1]);
        assert!((alternating - independent).abs() < 1e-8, "{alternating}");
        // The correlation of neighbours is 5/8, above the highest that counts, and the means of the
        // stretches are 0.01, 0.01, -0.01, -0.01: t with 3 degrees of freedom is 3.1824463.
        let slow = 3.182_446_3 * 0.01 / 3f64.sqrt();
        let drifting = half([1, 1, 1, 1, -1, -1, -1, -1]);
        assert!(
            (drifting - (2.0 * independent).hypot(slow)).abs() < 1e-8,
            "{drifting}"
        );
    }

    /// How often the interval holds the mean of the process that made the values, in percent.
    fn coverage(count: usize, series: impl Fn(&mut ChaCha8Rng, usize) -> Vec<f64>) -> usize {
        let mut random = ChaCha8Rng::seed_from_u64(5);
        let held = (0..2000).filter(|_| {
            let values: Vec<f64> = series(&mut random, count);
            let values: Vec<f64> = values.iter().map(|v| (0.01 * v).exp()).collect();
            let interval = over_processes(&values).unwrap();
            interval.low <= 1.0 && 1.0 <= interval.high
        });
        held.count() / 20
    }

    fn normal(random: &mut ChaCha8Rng) -> f64 {
        random.sample(StandardNormal)
    }

    /// A stationary first-order autoregression of deviation 1.
    fn drift(random: &mut ChaCha8Rng, count: usize, correlation: f64) -> Vec<f64> {
        let mut value = normal(random);
        let step = (1.0 - correlation * correlation).sqrt();
        let next = |_| {
            value = correlation * value + step * normal(random);
            value
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn an_interval_holds_the_mean_of_values_that_drift_nearly_as_often_as_it_says() {
        for count in [8, 12, 16] {
            let independent = coverage(count, |r, n| (0..n).map(|_| normal(r)).collect());
            assert!(
                independent >= 95,
                "{count} independent values: {independent} %"
            );
            let fast = coverage(count, |r, n| drift(r, n, 0.4));
            assert!(fast >= 92, "{count} values with a fast drift: {fast} %");
            // A tenth of the drift is left after six seconds, as on a shared machine.
            let mixed = coverage(count, |r, n| {
                let slow = drift(r, n, 0.87);
                slow.iter().map(|v| 0.6 * v + 0.8 * normal(r)).collect()
            });
            assert!(mixed >= 85, "{count} values with a slow drift: {mixed} %");
        }
    }

    #[test]
    fn percentiles_of_students_t_match_the_table() {
        // NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
        for (freedom, t) in [
            (1.0, 12.706),
            (2.0, 4.303),
            (5.0, 2.571),
            (30.0, 2.042),
            (100.0, 1.984),
        ] {
            assert!((student(freedom) - t).abs() < 5e-4, "{freedom}");
        }
        assert_eq!(student(0.0), student(1.0));
    }

    #[test]
    fn the_interval_of_known_values_has_its_known_ends() {
        // Logarithms 0.04, 0.05, 0.06: mean 0.05, deviation 0.01, and t with two degrees of
        // freedom is 4.3026527.
        let interval = over_processes(&[0.04f64.exp(), 0.05f64.exp(), 0.06f64.exp()]).unwrap();
        let half = 4.302_652_7 * 0.01 / 3f64.sqrt();
        for (value, log) in [
            (interval.value, 0.05),
            (interval.low, 0.05 - half),
            (interval.high, 0.05 + half),
        ] {
            assert!((value.ln() - log).abs() < 1e-8, "{value} {log}");
        }
        for values in [&[1.0][..], &[1.0, 0.0], &[1.0, f64::NAN]] {
            assert_eq!(over_processes(values), None, "{values:?}");
        }
    }
}
