//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html).

use ndarray::Axis;

use super::reduce::reduction;
use crate::fold::{Array, Fold, Operands};

reduction! {
    /// The mean over `axes`.
    ReduceMean [1, 11, 13, 18], axes are an input since 18, Fold::Elements(Self::fold)
}

impl ReduceMean {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let mut x = operands.floats(0)?;
        for &axis in self.axes(x.ndim())?.iter().rev() {
            x = x.mean_axis(Axis(axis))?;
            if self.keepdims {
                x = x.insert_axis(Axis(axis));
            }
        }
        Some(Array::Floats(x))
    }
}
