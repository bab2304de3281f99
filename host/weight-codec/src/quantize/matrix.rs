//! Matrices in row-major order, and the Cholesky factorisation.

use std::ops::Range;

use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2, Axis, Slice};

/// Columns of one block. Most of the work is products of blocks, which stay in the cache.
pub(super) const BLOCK: usize = 64;

/// A matrix in row-major order.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    rows: usize,
    columns: usize,
    values: Vec<f64>,
}

impl Matrix {
    /// Creates a matrix from the value at each `(row, column)`.
    pub fn new(rows: usize, columns: usize, mut value: impl FnMut(usize, usize) -> f64) -> Self {
        let mut values = Vec::with_capacity(rows * columns);
        for row in 0..rows {
            values.extend((0..columns).map(|column| value(row, column)));
        }
        Self {
            rows,
            columns,
            values,
        }
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn columns(&self) -> usize {
        self.columns
    }

    pub fn row(&self, row: usize) -> &[f64] {
        &self.values[row * self.columns..][..self.columns]
    }

    pub fn row_mut(&mut self, row: usize) -> &mut [f64] {
        &mut self.values[row * self.columns..][..self.columns]
    }

    /// Adds `factor` times a product to the columns that start at `column`, of the rows that
    /// start at `row`.
    pub fn add_product(
        &mut self,
        (row, column): (usize, usize),
        factor: f64,
        (left, right): (ArrayView2<f64>, ArrayView2<f64>),
    ) {
        let shape = (self.rows, self.columns);
        if let Ok(mut to) = ArrayViewMut2::from_shape(shape, &mut self.values) {
            to.slice_axis_inplace(Axis(0), Slice::from(row..row + left.nrows()));
            to.slice_axis_inplace(Axis(1), Slice::from(column..column + right.ncols()));
            general_mat_mul(factor, &left, &right, 1.0, &mut to);
        }
    }

    /// Returns a block.
    pub fn block(&self, rows: Range<usize>, columns: Range<usize>) -> Self {
        let width = columns.len();
        let values = rows.clone().flat_map(|row| &self.row(row)[columns.clone()]);
        Self {
            rows: rows.len(),
            columns: width,
            values: values.copied().collect(),
        }
    }

    /// Returns some of the rows as an operand of [`Self::add_product`].
    pub fn operand(&self, rows: Range<usize>) -> ArrayView2<'_, f64> {
        let values = &self.values[rows.start * self.columns..rows.end * self.columns];
        ArrayView2::from_shape((rows.len(), self.columns), values)
            .unwrap_or_else(|_| ArrayView2::from(&[[0.0; 0]; 0]))
    }

    /// Replaces the lower triangle of a symmetric matrix `A` by `L` with `A = L L^T`. The values
    /// above the diagonal are left. Returns the column at which the matrix turned out not to be
    /// positive definite, if any.
    pub fn factorize(&mut self) -> Result<(), usize> {
        let size = self.rows;
        for start in (0..size).step_by(BLOCK) {
            let end = (start + BLOCK).min(size);
            for row in start..size {
                self.eliminate(row, start..end.min(row + 1))?;
            }
            // The rest loses what these columns explain: its lower triangle, by blocks.
            let panel = self.block(end..size, start..end);
            for column in (end..size).step_by(BLOCK) {
                let until = (column + BLOCK).min(size);
                let left = panel.operand(column - end..size - end);
                let right = panel.operand(column - end..until - end);
                self.add_product((column, column), -1.0, (left, right.reversed_axes()));
            }
        }
        Ok(())
    }

    /// Computes some columns of a row of `L`, given the rows before and the columns before.
    fn eliminate(&mut self, row: usize, columns: Range<usize>) -> Result<(), usize> {
        let start = columns.start;
        for column in columns {
            let sum = dot(
                &self.row(row)[start..column],
                &self.row(column)[start..column],
            );
            let rest = self.row(row)[column] - sum;
            let value = if column < row {
                rest / self.row(column)[column]
            } else if rest > 0.0 && rest.is_finite() {
                rest.sqrt()
            } else {
                return Err(row);
            };
            self.row_mut(row)[column] = value;
        }
        Ok(())
    }
}

/// Returns the sum of the products, in several sums that are computed at once.
fn dot(left: &[f64], right: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut sums = [0.0; LANES];
    let (left, left_rest) = left.as_chunks::<LANES>();
    let (right, right_rest) = right.as_chunks::<LANES>();
    for (a, b) in left.iter().zip(right) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest = left_rest.iter().zip(right_rest).map(|(a, b)| a * b);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_product_of_the_factors_is_the_matrix() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        for size in [1, 2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            let root = Matrix::new(size, size + 3, |_, _| rng.random_range(-1.0..1.0));
            let matrix = Matrix::new(size, size, |a, b| dot(root.row(a), root.row(b)));
            let mut factor = matrix.clone();
            factor.factorize().unwrap();
            for row in 0..size {
                for column in 0..=row {
                    let until = column + 1;
                    let product = dot(&factor.row(row)[..until], &factor.row(column)[..until]);
                    let error = (product - matrix.row(row)[column]).abs();
                    assert!(error < 1e-10, "size {size}: {error}");
                }
            }
        }
    }

    #[test]
    fn an_indefinite_matrix_is_refused_at_its_column() {
        let bad = BLOCK + 1;
        let mut matrix = Matrix::new(bad + 3, bad + 3, |row, column| match row == column {
            true if row == bad => -1.0,
            true => 1.0,
            false => 0.0,
        });
        assert_eq!(matrix.factorize(), Err(bad));
    }
}
