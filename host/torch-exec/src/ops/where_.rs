//! Where: <https://onnx.ai/onnx/operators/onnx__Where.html>.

use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(args: &Args) -> Result<Tensor, TchError> {
    args.need(1)?.f_where_self(args.need(0)?, args.need(2)?)
}
