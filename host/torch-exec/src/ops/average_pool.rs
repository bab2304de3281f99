//! AveragePool: <https://onnx.ai/onnx/operators/onnx__AveragePool.html>.

use onnx_graph::ops::AveragePool;
use tch::{TchError, Tensor};

use super::window::{begins, or_ones, pad, symmetric};
use super::{Args, i64s};

pub(super) fn run(op: &AveragePool, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let padding = begins(&op.pads, op.kernel.len());
    // libtorch pads by at most half the kernel.
    let fits = padding
        .iter()
        .zip(&op.kernel)
        .all(|(&p, &k)| 2 * p <= k as i64);
    if symmetric(&op.pads) && fits {
        return pool(op, x, padding, op.count_include_pad);
    }
    let none = vec![0; op.kernel.len()];
    let sum = pool(op, &pad(x, &op.pads, 0.0)?, none.clone(), true)?;
    if op.count_include_pad {
        return Ok(sum);
    }
    // Pooling ones gives the share of each window that lies on the input.
    let mut ones = x.size();
    ones[..2].fill(1);
    let share = pool(
        op,
        &pad(&Tensor::ones(&ones, (x.kind(), x.device())), &op.pads, 0.0)?,
        none,
        true,
    )?;
    sum.f_div(&share)
}

fn pool(
    op: &AveragePool,
    x: &Tensor,
    padding: Vec<i64>,
    include: bool,
) -> Result<Tensor, TchError> {
    let rank = op.kernel.len();
    let (kernel, strides) = (i64s(&op.kernel), or_ones(&op.strides, rank));
    match rank {
        1 => x.f_avg_pool1d(kernel, strides, padding, op.ceil_mode, include),
        2 => x.f_avg_pool2d(kernel, strides, padding, op.ceil_mode, include, None::<i64>),
        3 => x.f_avg_pool3d(kernel, strides, padding, op.ceil_mode, include, None::<i64>),
        _ => Err(TchError::Torch(format!(
            "pooling over {rank} axes is not supported"
        ))),
    }
}
