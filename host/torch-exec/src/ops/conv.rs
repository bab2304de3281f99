//! Conv: <https://onnx.ai/onnx/operators/onnx__Conv.html>.

use onnx_graph::ops::Conv;
use tch::{TchError, Tensor};

use super::Args;
use super::window::{begins, or_ones, pad, symmetric};

pub(super) fn run(op: &Conv, args: &Args) -> Result<Tensor, TchError> {
    let weight = args.need_operand(1)?;
    let bias = args.operand(2)?;
    let rank = weight.dim().saturating_sub(2);
    let mut x = args.need_operand(0)?;
    let mut padding = begins(&op.pads, rank);
    if !symmetric(&op.pads) {
        x = pad(&x, &op.pads, 0.0)?;
        padding = vec![0; rank];
    }
    x.f_convolution(
        &weight,
        bias.as_ref(),
        or_ones(&op.strides, rank),
        padding,
        or_ones(&op.dilations, rank),
        false,
        vec![0; rank],
        op.group as i64,
    )
}
