//! Shape: <https://onnx.ai/onnx/operators/onnx__Shape.html>.

use onnx_graph::ops::Shape;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Shape, args: &Args) -> Result<Tensor, TchError> {
    let dims = args.need(0)?.size();
    Tensor::f_from_slice(&dims[op.range(dims.len())])
}
