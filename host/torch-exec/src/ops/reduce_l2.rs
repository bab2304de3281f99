//! ReduceL2: <https://onnx.ai/onnx/operators/onnx__ReduceL2.html>.

use onnx_graph::ops::ReduceL2;
use tch::{TchError, Tensor};

use super::Args;
use super::reduce_mean::all_if_none;

pub(super) fn run(op: &ReduceL2, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_norm_scalaropt_dim(2, all_if_none(&op.axes, x), op.keepdims)
}
