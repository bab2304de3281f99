//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use onnx_graph::ops::ReduceMean;
use tch::{Kind, TchError, Tensor};

use super::Args;
use super::layout::in_memory_order;

pub(super) fn run(op: &ReduceMean, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let rank = x.dim() as i64;
    let from_end = |axis: i64| if axis < 0 { axis + rank } else { axis };
    let axes: Vec<i64> = all_if_none(&op.axes, x).into_iter().map(from_end).collect();
    let out = mean(x, &axes)?;
    if op.keepdims {
        return Ok(out);
    }
    out.f_squeeze_dims(axes)
}

/// Returns the mean over the non-negative `axes`, which stay with size 1.
pub(super) fn mean(x: &Tensor, axes: &[i64]) -> Result<Tensor, TchError> {
    in_memory_order(x, |x, place| {
        let axes: Vec<i64> = axes.iter().copied().map(place).collect();
        x.f_mean_dim(axes, true, None::<Kind>)
    })
}

/// Returns the axes of a reduction: all if none is given.
pub(super) fn all_if_none(axes: &[i64], x: &Tensor) -> Vec<i64> {
    if axes.is_empty() {
        (0..x.dim() as i64).collect()
    } else {
        axes.to_vec()
    }
}
