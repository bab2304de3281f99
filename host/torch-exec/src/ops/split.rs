//! Split: <https://onnx.ai/onnx/operators/onnx__Split.html>.

use onnx_graph::ops::Split;
use tch::{TchError, Tensor};

use super::{Args, i64s};

pub(super) fn run(op: &Split, args: &Args) -> Result<Vec<Tensor>, TchError> {
    args.need(0)?.f_split_with_sizes(i64s(&op.sizes), op.axis)
}
