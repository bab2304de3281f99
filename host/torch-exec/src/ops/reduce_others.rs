//! ReduceMax and others: <https://onnx.ai/onnx/operators/onnx__ReduceMax.html>.

use onnx_graph::ops::{ReduceL1, ReduceLogSumExp, ReduceMax, ReduceMin, ReduceSumSquare};
use tch::{Kind, TchError, Tensor};

use super::Args;
use super::reduce_mean::all_if_none;

pub(super) fn l1(op: &ReduceL1, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let axes = all_if_none(&op.axes, x);
    x.f_abs()?
        .f_sum_dim_intlist(axes, op.keepdims, None::<Kind>)
}

pub(super) fn log_sum_exp(op: &ReduceLogSumExp, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_logsumexp(all_if_none(&op.axes, x), op.keepdims)
}

pub(super) fn max(op: &ReduceMax, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_amax(all_if_none(&op.axes, x), op.keepdims)
}

pub(super) fn min(op: &ReduceMin, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_amin(all_if_none(&op.axes, x), op.keepdims)
}

pub(super) fn sum_square(op: &ReduceSumSquare, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let axes = all_if_none(&op.axes, x);
    x.f_square()?
        .f_sum_dim_intlist(axes, op.keepdims, None::<Kind>)
}
