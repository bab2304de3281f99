//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use onnx_graph::ops::ReduceMean;
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn run(op: &ReduceMean, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_mean_dim(all_if_none(&op.axes, x), op.keepdims, None::<Kind>)
}

/// The axes of a reduction, which are all when none is named.
pub(super) fn all_if_none(axes: &[i64], x: &Tensor) -> Vec<i64> {
    if axes.is_empty() {
        (0..x.dim() as i64).collect()
    } else {
        axes.to_vec()
    }
}
