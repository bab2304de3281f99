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

/// The fewest values in time that show whether each resembles the one before.
const FEWEST_IN_TIME: usize = 8;
/// The highest correlation of neighbours that an interval is widened for.
const MOST_CORRELATED: f64 = 0.6;

/// How much larger the variance of a mean is than for independent values, from the correlation of
/// each value with the one before: that of a first-order autoregression. A device's pace drifts, so
/// processes that follow one another resemble each other. At least 1.
fn inflation(logarithms: &[f64], mean: f64) -> f64 {
    if logarithms.len() < FEWEST_IN_TIME {
        return 1.0;
    }
    let squares: f64 = logarithms.iter().map(|v| (v - mean).powi(2)).sum();
    let pairs = logarithms.windows(2);
    let products: f64 = pairs.map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if squares <= 0.0 {
        return 1.0;
    }
    let correlation = (products / squares).clamp(0.0, MOST_CORRELATED);
    (1.0 + correlation) / (1.0 - correlation)
}

/// Returns the geometric mean of values, one per process in the order of time, with its 95 %
/// interval: Student's of the logarithms, widened where neighbours are correlated. `None` for fewer
/// than two values or one that is not positive.
pub fn over_processes(values: &[f64]) -> Option<Interval> {
    let logarithms = Logarithms::of(values)?;
    let all: Vec<f64> = values.iter().map(|v| v.ln()).collect();
    let mean = logarithms.mean;
    let half = logarithms.half_interval() * inflation(&all, mean).sqrt();
    Some(Interval {
        value: mean.exp(),
        low: (mean - half).exp(),
        high: (mean + half).exp(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_that_resemble_each_other_widen_the_interval() {
        let values = |of: [i32; 8]| of.map(|v| (f64::from(v) * 0.01).exp());
        let width = |of| over_processes(&values(of)).unwrap().half_width_rel();
        let alternating = width([1, -1, 1, -1, 1, -1, 1, -1]);
        // The correlation of neighbours is 5/8, above the highest that counts.
        let drifting = width([1, 1, 1, 1, -1, -1, -1, -1]);
        assert!(
            (drifting / alternating - 2.0).abs() < 0.01,
            "{drifting} {alternating}"
        );
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
