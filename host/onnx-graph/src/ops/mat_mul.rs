//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html), with the rules of `numpy.matmul`.

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::graph::{Dim, Shape};

/// The product of the last two axes, the leading ones broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MatMul;

impl Operator for MatMul {
    const NAME: &'static str = "MatMul";
    const INPUTS: (usize, usize) = (2, 2);
    const SINCE: i64 = 1;

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
