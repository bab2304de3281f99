//! The change of latency with its interval, and the verdict on it.

use latency::stats::Interval;
use latency::{Logarithms, over_processes, student};
use serde::{Deserialize, Serialize};

use crate::Verdict;

/// A relative change of latency: 0.05 is five per cent slower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The geometric mean of the processes' ratios, minus one.
    #[serde(flatten, with = "EstimateFields")]
    pub estimate: Interval,
    /// The noise of the series: the standard deviation of the logarithm of one process's ratio.
    pub noise: f64,
    /// Number of processes.
    pub processes: usize,
}

/// An interval as the fields of a [`Change`].
#[derive(Serialize, Deserialize)]
#[serde(remote = "Interval")]
struct EstimateFields {
    #[serde(rename = "estimate")]
    value: f64,
    low: f64,
    high: f64,
}

fn around(mean: f64, half: f64, noise: f64, processes: usize) -> Change {
    Change {
        estimate: Interval {
            value: mean.exp_m1(),
            low: (mean - half).exp_m1(),
            high: (mean + half).exp_m1(),
        },
        noise,
        processes,
    }
}

/// Returns the change between two independent series, with Welch's interval for the difference of
/// the logarithms (Biometrika 34 (1947), 28-35). `None` if one of them has fewer than two values
/// or one that is not positive.
pub fn change_between(new: &[f64], old: &[f64]) -> Option<Change> {
    let (new, old) = (Logarithms::of(new)?, Logarithms::of(old)?);
    let (a, b) = (new.variance / new.count, old.variance / old.count);
    let freedom = (a + b).powi(2)
        / (a.powi(2) / (new.count - 1.0) + b.powi(2) / (old.count - 1.0)).max(f64::MIN_POSITIVE);
    let half = student(freedom) * (a + b).sqrt();
    let noise = new.variance.max(old.variance).sqrt();
    Some(around(new.mean - old.mean, half, noise, new.count as usize))
}

/// Returns the change from the ratios of new to old, one per process. `None` for fewer than two
/// values or one that is not positive.
///
/// Ratios multiply, so the logarithms are averaged, with Student's interval.
pub fn change(ratios: &[f64]) -> Option<Change> {
    let logarithms = Logarithms::of(ratios)?;
    let (half, noise) = (logarithms.half_interval(), logarithms.variance.sqrt());
    Some(around(logarithms.mean, half, noise, ratios.len()))
}

/// Returns the 95 % interval of a latency from its values, one per process: Student's interval of
/// the logarithms, widened to contain the reported median. `None` for fewer than two values or
/// one that is not positive.
pub fn level_interval(values: &[f64]) -> Option<(f64, f64)> {
    let Interval { low, high, .. } = over_processes(values)?;
    let median = latency::stats::median(values)?;
    Some((low.min(median), high.max(median)))
}

impl Change {
    /// Returns whether more processes would not change the verdict: the interval lies above the
    /// threshold, or below it and is narrower than it.
    pub fn is_clear(&self, threshold: f64) -> bool {
        let Interval { low, high, .. } = self.estimate;
        low > threshold || high < threshold && high - low < threshold
    }
}

/// Returns the verdict on a change.
pub fn compare(change: &Change, threshold: f64) -> Verdict {
    let Interval { value, low, high } = change.estimate;
    if value > threshold && low > 0.0 {
        Verdict::Regressed
    } else if (high - low) / 2.0 > threshold {
        Verdict::Undecided
    } else if value < -threshold && high < 0.0 {
        Verdict::Improved
    } else {
        Verdict::Fine
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Student's t with two degrees of freedom: (2 p - 1) sqrt(2 / (4 p (1 - p))).
    const T_2: f64 = 4.302_652_729_749_464;

    #[track_caller]
    fn close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-9, "{value} {expected}");
    }

    #[test]
    fn a_change_has_its_known_answer() {
        // Logarithms 0.04, 0.05, 0.06: mean 0.05, deviation 0.01.
        let result = change(&[0.04f64.exp(), 0.05f64.exp(), 0.06f64.exp()]).unwrap();
        let half = T_2 * 0.01 / 3f64.sqrt();
        close(result.estimate.value, 0.05f64.exp_m1());
        close(result.estimate.low, (0.05 - half).exp_m1());
        close(result.estimate.high, (0.05 + half).exp_m1());
        close(result.noise, 0.01);
        assert_eq!(change(&[1.0]), None);
        assert_eq!(change(&[1.0, 0.0]), None);
        assert_eq!(change(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_change_between_two_series_has_its_known_answer() {
        let of = |logs: [f64; 3]| logs.map(f64::exp);
        let result = change_between(&of([0.14, 0.15, 0.16]), &of([0.08, 0.10, 0.12])).unwrap();
        // Variances 1e-4 and 4e-4 of three values each: standard error sqrt(5e-4 / 3), and 25 /
        // 8.5 degrees of freedom with t = 3.2187586.
        let half = 3.218_758_6 * (5e-4f64 / 3.0).sqrt();
        close(result.estimate.value, 0.05f64.exp_m1());
        close(result.estimate.high, (0.05 + half).exp_m1());
        assert_eq!(change_between(&[1.0, 1.1], &[]), None);
    }

    #[test]
    fn the_interval_of_a_latency_has_its_known_answer_and_contains_the_median() {
        let (low, high) = level_interval(&[0.04f64.exp(), 0.05f64.exp(), 0.06f64.exp()]).unwrap();
        let half = T_2 * 0.01 / 3f64.sqrt();
        close(low, (0.05 - half).exp());
        close(high, (0.05 + half).exp());
        let mut skewed = vec![1.0; 30];
        skewed.extend([3.0; 14]);
        let (low, high) = level_interval(&skewed).unwrap();
        assert!(low <= 1.0 && 1.0 <= high, "{low} {high}");
        assert_eq!(level_interval(&[1.0]), None);
    }

    #[test]
    fn a_verdict_depends_on_the_threshold_and_the_noise() {
        let check = |low: f64, estimate: f64, high: f64, expected: Verdict| {
            let change = Change {
                estimate: (estimate, low, high).into(),
                noise: 0.01,
                processes: 5,
            };
            assert_eq!(compare(&change, 0.03), expected, "{change:?}");
        };
        check(0.03, 0.05, 0.07, Verdict::Regressed);
        check(0.005, 0.04, 0.075, Verdict::Regressed);
        check(0.01, 0.02, 0.03, Verdict::Fine);
        check(-0.01, 0.035, 0.08, Verdict::Undecided);
        check(-0.05, 0.0, 0.05, Verdict::Undecided);
        check(-0.07, -0.05, -0.03, Verdict::Improved);
        check(-0.01, 0.0, 0.01, Verdict::Fine);
    }

    #[test]
    fn a_change_keeps_its_fields_in_json() {
        let old = r#"{"estimate":0.05,"low":0.04,"high":0.06,"noise":0.01,"processes":5}"#;
        let change: Change = serde_json::from_str(old).unwrap();
        assert_eq!(change.estimate, (0.05, 0.04, 0.06).into());
        assert_eq!(serde_json::to_string(&change).unwrap(), old);
    }

    #[test]
    fn false_alarms_stay_below_one_percent_and_a_slowdown_of_five_percent_is_found() {
        let normal = |random: &mut rand_chacha::ChaCha8Rng| -> f64 {
            random.sample(rand_distr::StandardNormal)
        };
        let alarms = |slower: f64| {
            let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(4);
            (0..1000)
                .filter(|_| {
                    let ratios: Vec<f64> = (0..7)
                        .map(|_| slower * (0.015 * normal(&mut random)).exp())
                        .collect();
                    compare(&change(&ratios).unwrap(), 0.03) == Verdict::Regressed
                })
                .count()
        };
        assert!(alarms(1.0) <= 2, "{}", alarms(1.0));
        assert!(alarms(1.05) >= 950, "{}", alarms(1.05));
    }
}
