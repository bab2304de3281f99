//! From ratios to a change with its interval, and a verdict.

use serde::{Deserialize, Serialize};

/// A change of latency, relative: 0.05 is five per cent slower.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The estimate: the geometric mean of the processes' ratios, minus one.
    pub estimate: f64,
    /// Lower end of its 95 % interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Standard deviation of one process's ratio, relative: the noise of the series.
    pub noise: f64,
    /// Processes.
    pub processes: usize,
}

/// What a comparison says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No slower than the threshold allows.
    Fine,
    /// Faster by more than the threshold.
    Improved,
    /// Slower by more than the threshold, and by more than noise does.
    Regressed,
    /// The noise hides a change as large as the threshold.
    Undecided,
}

/// Student's t, 97.5th percentile, by degrees of freedom from 1 on (NIST/SEMATECH e-Handbook of Statistical Methods,
/// 1.3.6.7.2); beyond the table the last value is close enough on the safe side.
const STUDENT: [f64; 30] = [
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160,
    2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056,
    2.052, 2.048, 2.045, 2.042,
];

/// The change that the ratios of new to old, one a process, tell of. `None` for fewer than two, or one that is not positive.
///
/// Ratios multiply, so their logarithms are averaged; the interval is Student's.
pub fn change(ratios: &[f64]) -> Option<Change> {
    let count = ratios.len();
    if count < 2
        || ratios
            .iter()
            .any(|ratio| !(ratio.is_finite() && *ratio > 0.0))
    {
        return None;
    }
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let mean = logs.iter().sum::<f64>() / count as f64;
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / (count - 1) as f64;
    let noise = variance.sqrt();
    let half = STUDENT[(count - 2).min(STUDENT.len() - 1)] * noise / (count as f64).sqrt();
    Some(Change {
        estimate: mean.exp_m1(),
        low: (mean - half).exp_m1(),
        high: (mean + half).exp_m1(),
        noise,
        processes: count,
    })
}

impl Change {
    /// Whether more processes would not change what is said: the change lies surely on one side of the threshold, or the interval
    /// is much narrower than it.
    pub fn is_clear(&self, threshold: f64) -> bool {
        self.low > threshold || self.high < threshold && self.high - self.low < threshold
    }
}

/// The verdict on a change.
pub fn compare(change: &Change, threshold: f64) -> Verdict {
    let half = (change.high - change.low) / 2.0;
    if change.estimate > threshold && change.low > 0.0 {
        Verdict::Regressed
    } else if half > threshold {
        Verdict::Undecided
    } else if change.estimate < -threshold && change.high < 0.0 {
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
            (found.estimate, 0.05f64.exp_m1()),
            (found.low, (0.05 - half).exp_m1()),
            (found.high, (0.05 + half).exp_m1()),
            (found.noise, 0.01),
        ] {
            assert!((value - known).abs() < 1e-12, "{value} {known}");
        }
        assert_eq!(change(&[1.0]), None);
        assert_eq!(change(&[1.0, 0.0]), None);
        assert_eq!(change(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_verdict_needs_the_threshold_and_the_noise() {
        let check = |low: f64, estimate: f64, high: f64, wanted: Verdict| {
            let change = Change {
                estimate,
                low,
                high,
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
