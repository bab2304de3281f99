//! Cholesky factorisation for ridge regression.

/// Returns the Cholesky factor L (lower, row-major n x n) of a symmetric matrix, or `None` if it
/// is not positive definite.
pub(crate) fn cholesky(matrix: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = l[i * n..i * n + j]
                .iter()
                .zip(&l[j * n..j * n + j])
                .map(|(a, b)| a * b)
                .sum();
            let rest = matrix[i * n + j] - dot;
            if i == j {
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    Some(l)
}

/// Solves L z = b for a lower triangular L.
pub(crate) fn solve_lower(l: &[f64], n: usize, b: &[f64]) -> Vec<f64> {
    let mut z = Vec::with_capacity(n);
    for i in 0..n {
        let dot: f64 = l[i * n..i * n + i].iter().zip(&z).map(|(a, b)| a * b).sum();
        z.push((b[i] - dot) / l[i * n + i]);
    }
    z
}

/// Solves L^T x = z for a lower triangular L.
pub(crate) fn solve_upper(l: &[f64], n: usize, z: &[f64]) -> Vec<f64> {
    let mut x = z.to_vec();
    for i in (0..n).rev() {
        x[i] /= l[i * n + i];
        for j in 0..i {
            x[j] -= l[i * n + j] * x[i];
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_system_is_solved() {
        let matrix = [4.0, 2.0, 0.6, 2.0, 5.0, 1.0, 0.6, 1.0, 3.0];
        let x = [1.0, -2.0, 0.5];
        let b: Vec<f64> = (0..3)
            .map(|i| (0..3).map(|j| matrix[i * 3 + j] * x[j]).sum())
            .collect();
        let l = cholesky(&matrix, 3).unwrap();
        let solved = solve_upper(&l, 3, &solve_lower(&l, 3, &b));
        assert!(
            solved.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-12),
            "{solved:?}"
        );
        assert!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
