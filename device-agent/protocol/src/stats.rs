//! The statistics of a latency, used by both sides.
//!
//! No distribution is assumed. Latencies have a hard lower edge and a long upper tail, where
//! means and standard deviations mislead. Medians, percentiles and the binomial interval of a
//! median by order statistics (Conover, *Practical Nonparametric Statistics*, 3rd edition, 3.2)
//! are used instead.

use crate::Ratio;
pub use crate::interval::{Interval, MedianFields};

/// Returns the `p`-th percentile (0 to 100) of ascending values, interpolated linearly; `None`
/// for no values.
pub fn percentile(sorted: &[f64], p: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = p.clamp(0.0, 100.0) / 100.0 * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    Some(sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64))
}

/// Returns the median of values in any order; `None` for no values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    percentile(&sorted, 50.0)
}

/// Returns the index of the lower end of a 95 % interval of the median among `n` ascending
/// values; the upper end is as far from the last value. `None` below six values, where no two
/// enclose the median with 95 %.
pub fn median_ci_rank(n: usize) -> Option<usize> {
    // The largest l with P(Binomial(n, 1/2) < l) <= 2.5 %, summed in logarithms because 2^-n
    // underflows.
    let mut log_mass = -(n as f64) * std::f64::consts::LN_2;
    let mut below = 0.0;
    let mut rank = None;
    for k in 0..n {
        below += log_mass.exp();
        if below > 0.025 {
            break;
        }
        rank = Some(k);
        log_mass += ((n - k) as f64 / (k + 1) as f64).ln();
    }
    rank
}

/// Returns the 95 % interval of the median of values in any order.
pub fn median_ci(values: &[f64]) -> Option<(f64, f64)> {
    let rank = median_ci_rank(values.len())?;
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Some((sorted[rank], sorted[sorted.len() - 1 - rank]))
}

/// Returns the median of each block of `runs` samples; a last, shorter block is dropped.
pub fn block_medians(samples_ns: &[u64], runs: usize) -> Vec<f64> {
    if runs == 0 {
        return Vec::new();
    }
    samples_ns
        .chunks_exact(runs)
        .filter_map(|block| median(&block.iter().map(|&ns| ns as f64).collect::<Vec<_>>()))
        .collect()
}

/// Returns samples as ascending floating-point numbers.
pub fn ascending(samples_ns: &[u64]) -> Vec<f64> {
    let mut sorted: Vec<f64> = samples_ns.iter().map(|&ns| ns as f64).collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// Returns the ratio of two networks measured in the same rounds: `candidate[i]` and
/// `reference[i]` are their block medians in round `i`. Drift between rounds cancels. `None` for
/// fewer than six rounds or a time that is not positive.
///
/// `low_end` is `candidate_p5 / reference_p5`.
pub fn ratio(candidate: &[f64], reference: &[f64], low_end: f64) -> Option<Ratio> {
    let rounds = candidate.len().min(reference.len());
    let mut ratios: Vec<f64> = candidate
        .iter()
        .zip(reference)
        .map(|(candidate, reference)| candidate / reference)
        .collect();
    if !low_end.is_finite()
        || ratios
            .iter()
            .any(|ratio| !ratio.is_finite() || *ratio <= 0.0)
    {
        return None;
    }
    let rank = median_ci_rank(rounds)?;
    ratios.sort_by(f64::total_cmp);
    Some(Ratio {
        interval: Interval {
            value: percentile(&ratios, 50.0)?,
            low: ratios[rank],
            high: ratios[rounds - 1 - rank],
        },
        low_end,
        rounds: u32::try_from(rounds).ok()?,
    })
}

/// Returns how much the last third of a series differs from its first: the ratio of their
/// medians minus one. `None` below six values.
pub fn drift(series: &[f64]) -> Option<f64> {
    let third = series.len() / 3;
    if third < 2 {
        return None;
    }
    Some(median(&series[series.len() - third..])? / median(&series[..third])? - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_have_their_known_answers() {
        let check = |values: &[f64], p: f64, want: Option<f64>| {
            assert_eq!(percentile(values, p), want, "{values:?} {p}");
        };
        check(&[], 50.0, None);
        check(&[3.0], 99.0, Some(3.0));
        check(&[1.0, 2.0], 50.0, Some(1.5));
        check(&[1.0, 2.0, 3.0, 4.0], 25.0, Some(1.75));
        check(&[1.0, 2.0, 3.0, 4.0, 5.0], 95.0, Some(4.8));
        check(&[1.0, 2.0, 3.0], 100.0, Some(3.0));
        check(&[1.0, 2.0, 3.0], 0.0, Some(1.0));
    }

    #[test]
    fn ranks_of_the_interval_are_those_of_the_binomial_table() {
        // (n, rank counted from 1) of the 95 % interval: Conover, table A3 and its usual
        // extension.
        let table = [
            (6, 1),
            (8, 1),
            (9, 2),
            (10, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
            (30, 10),
            (50, 18),
            (100, 40),
        ];
        for (n, rank) in table {
            assert_eq!(median_ci_rank(n), Some(rank - 1), "{n}");
        }
        for n in 0..6 {
            assert_eq!(median_ci_rank(n), None, "{n}");
        }
        // Far beyond the underflow of 2^-n the normal approximation holds.
        let n = 10_000;
        let rank = median_ci_rank(n).unwrap() as f64;
        assert!(
            (rank - (n as f64 / 2.0 - 0.98 * (n as f64).sqrt())).abs() < 2.0,
            "{rank}"
        );
    }

    #[test]
    fn the_interval_of_a_known_series_has_its_known_ends() {
        let values: Vec<f64> = (1..=20).rev().map(f64::from).collect();
        assert_eq!(median_ci(&values), Some((6.0, 15.0)));
        assert_eq!(median(&values), Some(10.5));
    }

    #[test]
    fn drift_of_the_machine_cancels_in_the_ratio() {
        let reference: Vec<f64> = (0..30)
            .map(|round| 100.0 * (1.0 + f64::from(round) / 10.0))
            .collect();
        let candidate: Vec<f64> = reference.iter().map(|ns| ns * 0.7).collect();
        let ratio = ratio(&candidate, &reference, 0.7).unwrap();
        assert!(
            (ratio.interval.value - 0.7).abs() < 1e-12 && ratio.ci_rel() < 1e-12,
            "{ratio:?}"
        );
        assert_eq!(ratio.rounds, 30);
        assert!(drift(&reference).unwrap() > 1.0);
    }

    #[test]
    fn a_ratio_needs_six_rounds_and_positive_times() {
        assert_eq!(ratio(&[1.0; 5], &[1.0; 5], 1.0), None);
        assert_eq!(ratio(&[1.0; 6], &[0.0; 6], 1.0), None);
        assert_eq!(ratio(&[0.0; 6], &[1.0; 6], 1.0), None);
        assert_eq!(ratio(&[1.0; 6], &[1.0; 6], f64::NAN), None);
        assert!(ratio(&[1.0; 6], &[1.0; 6], 1.0).is_some());
    }

    #[test]
    fn each_block_has_its_median() {
        assert_eq!(block_medians(&[1, 2, 3, 10, 20, 30, 7], 3), vec![2.0, 20.0]);
        assert!(block_medians(&[1, 2], 0).is_empty());
    }
}
