//! Agreement of two orders.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Resamples behind an interval.
const RESAMPLES: usize = 2000;

/// Kendall's tau-b with a 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// -1 to 1; 0 where one of the orders is constant.
    pub tau: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// How far `a` and `b`, values of the same subjects, order them alike. The interval is that of the
/// percentile bootstrap over subjects, with `seed`.
///
/// # Panics
/// Where the lengths differ.
#[must_use]
pub fn kendall(a: &[f64], b: &[f64], seed: u64) -> Agreement {
    assert_eq!(a.len(), b.len());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let pairs = a.iter().map(|_| rng.random_range(0..a.len()));
            let (a, b): (Vec<f64>, Vec<f64>) = pairs.map(|at| (a[at], b[at])).unzip();
            tau_b(&a, &b)
        })
        .collect();
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn[(share * (RESAMPLES - 1) as f64).round() as usize];
    Agreement {
        tau: tau_b(a, b),
        low: at(0.025),
        high: at(0.975),
    }
}

/// Concordant less discordant pairs over the geometric mean of those that are not tied in `a` and
/// not tied in `b` (Kendall 1945).
fn tau_b(a: &[f64], b: &[f64]) -> f64 {
    let (mut agree, mut in_a, mut in_b) = (0.0, 0.0, 0.0);
    for i in 0..a.len() {
        for j in 0..i {
            let sign = |of: &[f64]| f64::from(of[i].total_cmp(&of[j]) as i8);
            let (x, y) = (sign(a), sign(b));
            agree += x * y;
            in_a += x.abs();
            in_b += y.abs();
        }
    }
    let pairs = f64::sqrt(in_a * in_b);
    if pairs == 0.0 { 0.0 } else { agree / pairs }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.stats.kendalltau`.
    #[test]
    fn tau_is_that_of_scipy_with_and_without_ties() {
        let check = |a: &[f64], b: &[f64], tau: f64| {
            assert!((tau_b(a, b) - tau).abs() < 1e-6, "{a:?} {b:?}");
        };
        check(&[1.0, 2.0, 3.0, 4.0], &[1.0, 2.0, 3.0, 4.0], 1.0);
        check(&[1.0, 2.0, 3.0, 4.0], &[4.0, 3.0, 2.0, 1.0], -1.0);
        check(
            &[12.0, 2.0, 1.0, 12.0, 2.0],
            &[1.0, 4.0, 7.0, 1.0, 0.0],
            -0.471_404_5,
        );
        check(&[1.0, 1.0], &[1.0, 2.0], 0.0);
    }

    #[test]
    fn the_interval_is_narrow_for_equal_orders_and_holds_zero_for_unrelated_ones() {
        let up: Vec<f64> = (0..30).map(f64::from).collect();
        let same = kendall(&up, &up, 1);
        assert_eq!((same.tau, same.low, same.high), (1.0, 1.0, 1.0));
        let mixed: Vec<f64> = (0..30).map(|n| f64::from(n * 17 % 31)).collect();
        let unrelated = kendall(&up, &mixed, 1);
        assert!(unrelated.low < 0.0 && unrelated.high > 0.0, "{unrelated:?}");
    }
}
