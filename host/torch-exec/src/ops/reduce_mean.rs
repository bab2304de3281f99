//! ReduceMean: <https://onnx.ai/onnx/operators/onnx__ReduceMean.html>.

use onnx_graph::ops::ReduceMean;
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn run(op: &ReduceMean, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let axes: Vec<i64> = if op.axes.is_empty() {
        (0..x.dim() as i64).collect()
    } else {
        op.axes.clone()
    };
    x.f_mean_dim(axes, op.keepdims, None::<Kind>)
}
