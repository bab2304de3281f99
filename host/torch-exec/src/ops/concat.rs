//! Concat: <https://onnx.ai/onnx/operators/onnx__Concat.html>.

use onnx_graph::ops::Concat;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Concat, args: &Args) -> Result<Tensor, TchError> {
    let parts: Vec<&Tensor> = args.inputs.iter().flatten().collect();
    Tensor::f_cat(&parts, op.axis)
}
