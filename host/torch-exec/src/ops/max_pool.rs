//! MaxPool: <https://onnx.ai/onnx/operators/onnx__MaxPool.html>.

use onnx_graph::ops::MaxPool;
use tch::{TchError, Tensor};

use super::window::{begins, or_ones, pad, symmetric};
use super::{Args, i64s};

pub(super) fn run(op: &MaxPool, args: &Args) -> Result<Tensor, TchError> {
    let rank = op.kernel.len();
    let kernel = i64s(&op.kernel);
    let (strides, dilations) = (or_ones(&op.strides, rank), or_ones(&op.dilations, rank));
    let mut padding = begins(&op.pads, rank);
    let mut x = args.need(0)?.shallow_clone();
    // libtorch pads by at most half the kernel.
    if !symmetric(&op.pads) || padding.iter().zip(&kernel).any(|(p, k)| 2 * p > *k) {
        x = pad(&x, &op.pads, f64::NEG_INFINITY)?;
        padding = vec![0; rank];
    }
    match rank {
        1 => x.f_max_pool1d(kernel, strides, padding, dilations, op.ceil_mode),
        2 => x.f_max_pool2d(kernel, strides, padding, dilations, op.ceil_mode),
        3 => x.f_max_pool3d(kernel, strides, padding, dilations, op.ceil_mode),
        _ => Err(TchError::Torch(format!(
            "pooling over {rank} axes is not supported"
        ))),
    }
}
