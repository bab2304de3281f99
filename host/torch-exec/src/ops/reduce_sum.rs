//! ReduceSum: <https://onnx.ai/onnx/operators/onnx__ReduceSum.html>.

use onnx_graph::ops::ReduceSum;
use tch::{Kind, TchError, Tensor};

use super::Args;
use super::reduce_mean::all_if_none;

pub(super) fn run(op: &ReduceSum, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_sum_dim_intlist(all_if_none(&op.axes, x), op.keepdims, None::<Kind>)
}
