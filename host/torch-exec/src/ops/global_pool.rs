//! GlobalAveragePool and GlobalMaxPool: <https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html>.

use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn average(args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    if x.dim() == 4 {
        return x.f_adaptive_avg_pool2d([1, 1]);
    }
    x.f_mean_dim(spatial(x), true, None::<Kind>)
}

pub(super) fn max(args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_amax(spatial(x), true)
}

fn spatial(x: &Tensor) -> Vec<i64> {
    (2..x.dim() as i64).collect()
}
