//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html), with the rules of `numpy.matmul`.

use ndarray::{Array2, Ix2};

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::fold::{Array, Fold, Operands};
use crate::value::{Dim, Shape};

/// The matrix product over the last two axes; the leading ones broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatMul;

/// Most multiply-accumulates that folding one product may take.
pub(super) const MOST_WORK: usize = 1 << 25;

impl MatMul {
    /// Folds the product of a stack of matrices and one matrix.
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let (a, b) = (operands.floats(0)?, operands.floats(1)?);
        let &[inner, columns] = b.shape() else {
            return None;
        };
        let (&last, lead) = a.shape().split_last()?;
        let rows: usize = lead.iter().product();
        let fits = last == inner && rows.checked_mul(columns)? <= operands.limit;
        if !fits || rows.checked_mul(columns)?.checked_mul(inner)? > MOST_WORK {
            return None;
        }
        let dims: Vec<usize> = lead.iter().copied().chain([columns]).collect();
        let a: Array2<f32> = a
            .as_standard_layout()
            .into_owned()
            .into_shape_with_order((rows, inner))
            .ok()?;
        let b = b.view().into_dimensionality::<Ix2>().ok()?;
        Array::Floats(a.dot(&b).into_dyn()).reshaped(&dims)
    }
}

impl Operator for MatMul {
    const NAME: &'static str = "MatMul";
    const VERSIONS: &'static [i64] = &[1, 9, 13];
    const INPUTS: (usize, usize) = (2, 2);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let (Some(a), Some(b)) = (facts.shape(0), facts.shape(1)) else {
            return one(None);
        };
        if a.is_empty() || b.is_empty() {
            return Err("a scalar has no product of matrices".into());
        }
        let wide_a = if a.len() == 1 {
            vec![Dim::Known(1), a[0].clone()]
        } else {
            a.to_vec()
        };
        let wide_b = if b.len() == 1 {
            vec![b[0].clone(), Dim::Known(1)]
        } else {
            b.to_vec()
        };
        let (left, right) = (wide_a.len() - 2, wide_b.len() - 2);
        if let (Dim::Known(x), Dim::Known(y)) = (&wide_a[left + 1], &wide_b[right])
            && x != y
        {
            return Err(format!("{a:?} and {b:?} do not agree on the summed axis"));
        }
        let mut out = broadcast(&wide_a[..left], &wide_b[..right])?;
        if a.len() > 1 {
            out.push(wide_a[left].clone());
        }
        if b.len() > 1 {
            out.push(wide_b[right + 1].clone());
        }
        one(Some(out))
    }
}
