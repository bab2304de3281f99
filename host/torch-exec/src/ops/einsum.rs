//! Einsum: <https://onnx.ai/onnx/operators/onnx__Einsum.html>.

use onnx_graph::ops::Einsum;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Einsum, args: &Args) -> Result<Tensor, TchError> {
    let operands = (0..op.operands.len())
        .map(|i| args.need_operand(i))
        .collect::<Result<Vec<_>, _>>()?;
    Tensor::f_einsum(&op.equation(), &operands, None::<i64>)
}
