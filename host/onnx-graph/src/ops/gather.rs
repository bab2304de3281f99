//! [Gather](https://onnx.ai/onnx/operators/onnx__Gather.html) by constant indices, which are
//! resolved into the operator.

use ndarray::Axis;

use super::context::{Emission, Extra, Facts, Input, Operator, Parsing, one, since_axes};
use crate::fold::{Array, Fold, Operands, each};
use crate::value::{Dim, Shape};
use crate::{GraphError, Tensor, TensorData, dims};

/// Entries of one axis, in the order and shape of the indices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gather {
    /// The axis; negative counts from the end.
    pub axis: i64,
    /// Positions of the entries; negative counts from the end.
    pub indices: Vec<i64>,
    /// Shape of the indices, which replaces the axis; empty for a single entry.
    pub dims: Vec<usize>,
}

impl Gather {
    /// Returns the position of the axis in a value of `rank` dimensions, if it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        dims::axis(self.axis, rank).ok()
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let axis = self.axis(x.dims().len())?;
        let size = x.dims()[axis];
        let from = self.indices.iter().map(|&i| dims::axis(i, size).ok());
        let from: Vec<usize> = from.collect::<Option<_>>()?;
        let rest = x.dims().iter().product::<usize>() / size.max(1);
        if rest.checked_mul(from.len())? > operands.limit {
            return None;
        }
        let mut out = x.dims().to_vec();
        out.splice(axis..=axis, self.dims.iter().copied());
        each!(x, x => x.select(Axis(axis), &from)).reshaped(&out)
    }
}

impl Operator for Gather {
    const NAME: &'static str = "Gather";
    const VERSIONS: &'static [i64] = &[1, 11, 13];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &[self.axis])
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let axis = node.int("axis", 0)?;
        let (Input::Known(indices), Some(list)) = (node.int_input(1), node.constant(1)) else {
            return Ok(None);
        };
        let dims = list.dims().to_vec();
        node.keep_inputs(1);
        Ok(Some(Self {
            axis,
            indices,
            dims,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
        if let Ok(indices) = Tensor::new(self.dims.clone(), TensorData::I64(self.indices.clone())) {
            out.inputs.push(Some(Extra::Tensor("indices", indices)));
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let axis = dims::axis(self.axis, x.len())?;
        if let Some(size) = x[axis].known()
            && let Some(bad) = self.indices.iter().find(|&&i| dims::axis(i, size).is_err())
        {
            return Err(format!(
                "index {bad} is out of range for axis {axis} of {x:?}"
            ));
        }
        let mut out = x.to_vec();
        out.splice(axis..=axis, self.dims.iter().map(|&d| Dim::Known(d)));
        one(Some(out))
    }
}
