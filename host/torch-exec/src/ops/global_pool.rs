//! GlobalAveragePool and GlobalMaxPool:
//! <https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html>.

use tch::{TchError, Tensor};

use super::Args;
use super::reduce_mean::mean;

pub(super) fn average(args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    mean(x, &spatial(x))
}

pub(super) fn max(args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_amax(spatial(x), true)
}

fn spatial(x: &Tensor) -> Vec<i64> {
    (2..x.dim() as i64).collect()
}
