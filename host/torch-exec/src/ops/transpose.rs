//! Transpose: <https://onnx.ai/onnx/operators/onnx__Transpose.html>.

use onnx_graph::ops::Transpose;
use tch::{TchError, Tensor};

use super::{Args, i64s};

pub(super) fn run(op: &Transpose, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    if op.perm.is_empty() {
        return x.f_permute((0..x.dim() as i64).rev().collect::<Vec<_>>());
    }
    x.f_permute(i64s(&op.perm))
}
