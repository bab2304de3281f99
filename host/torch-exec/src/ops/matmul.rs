//! MatMul: <https://onnx.ai/onnx/operators/onnx__MatMul.html>.

use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(args: &Args) -> Result<Tensor, TchError> {
    args.need_operand(0)?.f_matmul(&args.need_operand(1)?)
}
