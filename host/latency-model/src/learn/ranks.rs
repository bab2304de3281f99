//! Rank correlations.

/// Returns Kendall's tau-b of two samples of the same length; 0 if one of them is constant.
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

/// Returns Spearman's rank correlation of two samples of the same length, with ties at their mean
/// rank; 0 if one of them is constant.
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
}
