//! Squeeze and Unsqueeze: <https://onnx.ai/onnx/operators/onnx__Squeeze.html>.

use onnx_graph::ops::{Squeeze, Unsqueeze};
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn squeeze(op: &Squeeze, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims = x.size();
    let rank = dims.len() as i64;
    let dropped: Vec<i64> = if op.axes.is_empty() {
        (0..rank).filter(|&a| dims[a as usize] == 1).collect()
    } else {
        op.axes
            .iter()
            .map(|&a| if a < 0 { a + rank } else { a })
            .collect()
    };
    let kept: Vec<i64> = (0..rank)
        .filter(|a| !dropped.contains(a))
        .map(|a| dims[a as usize])
        .collect();
    x.f_reshape(kept)
}

pub(super) fn unsqueeze(op: &Unsqueeze, args: &Args) -> Result<Tensor, TchError> {
    let mut x = args.need(0)?.shallow_clone();
    let rank = (x.dim() + op.axes.len()) as i64;
    let mut axes: Vec<i64> = op
        .axes
        .iter()
        .map(|&a| if a < 0 { a + rank } else { a })
        .collect();
    axes.sort_unstable();
    for axis in axes {
        x = x.f_unsqueeze(axis)?;
    }
    Ok(x)
}
