//! From ratios to a change with its interval, and a verdict.

use latency::stats::Interval;
use serde::{Deserialize, Serialize};

use crate::Verdict;

/// A change of latency, relative: 0.05 is five per cent slower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The geometric mean of the processes' ratios, minus one.
    #[serde(flatten, with = "EstimateFields")]
    pub estimate: Interval,
    /// Standard deviation of one process's ratio, relative: the noise of the series.
    pub noise: f64,
    /// Processes.
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

/// Student's t, 97.5th percentile, by degrees of freedom from 1 on (NIST/SEMATECH e-Handbook of Statistical Methods,
/// 1.3.6.7.2); beyond the table the last value is close enough on the safe side.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// Mean, variance and number of the logarithms; `None` for fewer than two values, or one that is not positive.
fn logarithms(values: &[f64]) -> Option<(f64, f64, f64)> {
    if values.len() < 2 || values.iter().any(|v| !(v.is_finite() && *v > 0.0)) {
        return None;
    }
    let count = values.len() as f64;
    let mean = values.iter().map(|v| v.ln()).sum::<f64>() / count;
    let squares: f64 = values.iter().map(|v| (v.ln() - mean).powi(2)).sum();
    Some((mean, squares / (count - 1.0), count))
}

/// Student's t for these degrees of freedom, rounded down.
fn student(freedom: f64) -> f64 {
    STUDENT[(freedom as usize).clamp(1, STUDENT.len()) - 1]
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

/// The change between two series that were not measured together, by Welch's interval of the logarithms' difference (Biometrika
/// 34 (1947), 28-35). `None` when one of them has fewer than two values.
pub fn change_between(new: &[f64], old: &[f64]) -> Option<Change> {
    let (new_mean, new_variance, new_count) = logarithms(new)?;
    let (old_mean, old_variance, old_count) = logarithms(old)?;
    let (a, b) = (new_variance / new_count, old_variance / old_count);
    let freedom = (a + b).powi(2)
        / (a.powi(2) / (new_count - 1.0) + b.powi(2) / (old_count - 1.0)).max(f64::MIN_POSITIVE);
    let half = student(freedom) * (a + b).sqrt();
    let noise = new_variance.max(old_variance).sqrt();
    Some(around(new_mean - old_mean, half, noise, new.len()))
}

/// The change that the ratios of new to old, one a process, tell of. `None` for fewer than two, or one that is not positive.
///
/// Ratios multiply, so their logarithms are averaged; the interval is Student's.
pub fn change(ratios: &[f64]) -> Option<Change> {
    let (mean, variance, count) = logarithms(ratios)?;
    let noise = variance.sqrt();
    let half = student(count - 1.0) * noise / count.sqrt();
    Some(around(mean, half, noise, ratios.len()))
}

/// The 95 % interval of a latency from its values, one a process: Student's, of their logarithms. It holds the median, which is
/// what is told as the latency. `None` for fewer than two values, or one that is not positive.
pub fn level_interval(values: &[f64]) -> Option<(f64, f64)> {
    let (mean, variance, count) = logarithms(values)?;
    let half = student(count - 1.0) * (variance / count).sqrt();
    let median = latency::stats::median(values)?;
    Some((
        (mean - half).exp().min(median),
        (mean + half).exp().max(median),
    ))
}

impl Change {
    /// Whether more processes would not change what is said: the change lies surely on one side of the threshold, or the interval
    /// is much narrower than it.
    pub fn is_clear(&self, threshold: f64) -> bool {
        let Interval { low, high, .. } = self.estimate;
        low > threshold || high < threshold && high - low < threshold
    }
}

/// The verdict on a change.
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

    #[test]
    fn a_change_has_its_known_answer() {
        // Logarithms 0.04, 0.05, 0.06: mean 0.05, deviation 0.01, t(2) = 4.303.
        let found = change(&[0.04f64.exp(), 0.05f64.exp(), 0.06f64.exp()]).unwrap();
        let half = 4.303 * 0.01 / 3f64.sqrt();
        for (value, known) in [
            (found.estimate.value, 0.05f64.exp_m1()),
            (found.estimate.low, (0.05 - half).exp_m1()),
            (found.estimate.high, (0.05 + half).exp_m1()),
            (found.noise, 0.01),
        ] {
            assert!((value - known).abs() < 1e-12, "{value} {known}");
        }
        assert_eq!(change(&[1.0]), None);
        assert_eq!(change(&[1.0, 0.0]), None);
        assert_eq!(change(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_change_between_two_series_has_its_known_answer() {
        let of = |logs: [f64; 3]| logs.map(f64::exp);
        let found = change_between(&of([0.14, 0.15, 0.16]), &of([0.08, 0.10, 0.12])).unwrap();
        // Variances 1e-4 and 4e-4 of three each: standard error sqrt(5e-4 / 3), 2.94 degrees of freedom, taken as 2.
        let half = 4.303 * (5e-4f64 / 3.0).sqrt();
        assert!(
            (found.estimate.value - 0.05f64.exp_m1()).abs() < 1e-12,
            "{found:?}"
        );
        assert!(
            (found.estimate.high - (0.05 + half).exp_m1()).abs() < 1e-12,
            "{found:?}"
        );
        assert_eq!(change_between(&[1.0, 1.1], &[]), None);
    }

    #[test]
    fn the_interval_of_a_level_has_its_known_answer_and_holds_the_median() {
        let (low, high) = level_interval(&[0.04f64.exp(), 0.05f64.exp(), 0.06f64.exp()]).unwrap();
        let half = 4.303 * 0.01 / 3f64.sqrt();
        assert!((low - (0.05 - half).exp()).abs() < 1e-12, "{low}");
        assert!((high - (0.05 + half).exp()).abs() < 1e-12, "{high}");
        let mut skewed = vec![1.0; 30];
        skewed.extend([3.0; 14]);
        let (low, high) = level_interval(&skewed).unwrap();
        assert!(low <= 1.0 && 1.0 <= high, "{low} {high}");
        assert_eq!(level_interval(&[1.0]), None);
    }

    #[test]
    fn a_verdict_needs_the_threshold_and_the_noise() {
        let check = |low: f64, estimate: f64, high: f64, wanted: Verdict| {
            let change = Change {
                estimate: (estimate, low, high).into(),
                noise: 0.01,
                processes: 5,
            };
            assert_eq!(compare(&change, 0.03), wanted, "{change:?}");
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
    fn of_a_hundred_comparisons_with_itself_one_alarms_at_most_and_five_percent_is_found_in_95() {
        let normal = |random: &mut rand_chacha::ChaCha8Rng| {
            (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0
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
