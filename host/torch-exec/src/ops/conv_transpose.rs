//! ConvTranspose: <https://onnx.ai/onnx/operators/onnx__ConvTranspose.html>.

use onnx_graph::ops::ConvTranspose;
use tch::{TchError, Tensor};

use super::window::{begins, or_ones, symmetric};
use super::{Args, i64s};

pub(super) fn run(op: &ConvTranspose, args: &Args) -> Result<Tensor, TchError> {
    let weight = args.need_operand(1)?;
    let bias = args.operand(2)?;
    let rank = weight.dim().saturating_sub(2);
    let same_ends = symmetric(&op.pads);
    let padding = if same_ends {
        begins(&op.pads, rank)
    } else {
        vec![0; rank]
    };
    let extra = if op.output_padding.is_empty() {
        vec![0; rank]
    } else {
        i64s(&op.output_padding)
    };
    let mut y = args.need_operand(0)?.f_convolution(
        &weight,
        bias.as_ref(),
        or_ones(&op.strides, rank),
        padding,
        or_ones(&op.dilations, rank),
        true,
        extra,
        op.group as i64,
    )?;
    if !same_ends {
        // Padding of a transposed convolution cuts its output.
        let (begin, end) = op.pads.split_at(rank);
        for (axis, (&b, &e)) in begin.iter().zip(end).enumerate() {
            let dim = axis as i64 + 2;
            let size = y.size()[axis + 2] - b as i64 - e as i64;
            y = y.f_narrow(dim, b as i64, size)?;
        }
    }
    Ok(y)
}
