//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html).

use ndarray::Ix2;

use super::context::{Emission, Facts, Operator, Parsing, one, open_shape};
use super::matmul::MOST_WORK;
use crate::GraphError;
use crate::dims::broadcast;
use crate::fold::{Array, Fold, Operands};
use crate::value::{Dim, Shape};

/// `alpha * A' B' + beta * C`, where `A'` is (M, K), `B'` is (K, N) and `C`, optional, broadcasts
/// to (M, N).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gemm {
    /// Factor of the product.
    pub alpha: f32,
    /// Factor of `C`.
    pub beta: f32,
    /// Whether `A` is given as (K, M).
    pub trans_a: bool,
    /// Whether `B` is given as (N, K).
    pub trans_b: bool,
}

impl Default for Gemm {
    /// The product of a batch and a (K, N) weight.
    fn default() -> Self {
        Self {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: false,
        }
    }
}

impl Gemm {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let matrix = |i: usize, transposed: bool| {
            let matrix = operands.floats(i)?.into_dimensionality::<Ix2>().ok()?;
            Some(match transposed {
                true => matrix.reversed_axes(),
                false => matrix,
            })
        };
        let (a, b) = (matrix(0, self.trans_a)?, matrix(1, self.trans_b)?);
        let ((rows, inner), columns) = (a.dim(), b.ncols());
        let size = rows.checked_mul(columns)?;
        if b.nrows() != inner || size > operands.limit || size.checked_mul(inner)? > MOST_WORK {
            return None;
        }
        let mut product = a.dot(&b);
        product *= self.alpha;
        if operands.operands.len() > 2 {
            let added = operands.floats(2)?;
            product.scaled_add(self.beta, &added.broadcast((rows, columns))?);
        }
        Some(Array::Floats(product.into_dyn()))
    }
}

impl Operator for Gemm {
    const NAME: &'static str = "Gemm";
    const VERSIONS: &'static [i64] = &[1, 6, 7, 9, 11, 13];
    const INPUTS: (usize, usize) = (2, 3);
    const SINCE: i64 = 7;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, facts: &Facts<'_>) -> i64 {
        if facts.input(2).is_none() {
            11
        } else {
            Self::SINCE
        }
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        node.int("broadcast", 1)?;
        Ok(Some(Self {
            alpha: node.float("alpha", 1.0)?,
            beta: node.float("beta", 1.0)?,
            trans_a: node.flag("transA", false)?,
            trans_b: node.flag("transB", false)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float("alpha", self.alpha);
        out.float("beta", self.beta);
        out.int("transA", i64::from(self.trans_a));
        out.int("transB", i64::from(self.trans_b));
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let (a, Some(b)) = (facts.ranked(0, 2, "A")?, facts.ranked(1, 2, "B")?) else {
            return one(None);
        };
        let (kb, n) = if self.trans_b {
            (&b[1], &b[0])
        } else {
            (&b[0], &b[1])
        };
        let Some(a) = a else {
            return one(n.known().map(|n| open_shape(facts, n, 2)));
        };
        let (m, k) = if self.trans_a {
            (&a[1], &a[0])
        } else {
            (&a[0], &a[1])
        };
        if let (Dim::Known(k), Dim::Known(kb)) = (k, kb)
            && k != kb
        {
            return Err(format!("A has {k} columns, B has {kb} rows"));
        }
        let out = vec![m.clone(), n.clone()];
        if let Some(c) = facts.shape(2) {
            let wide = broadcast(&out, c)?;
            if wide.len() != 2
                || wide
                    .iter()
                    .zip(&out)
                    .any(|(w, o)| w.known().is_some() && o.known().is_some() && w != o)
            {
                return Err(format!("C {c:?} does not broadcast to {out:?}"));
            }
        }
        one(Some(out))
    }
}
