//! Gather: <https://onnx.ai/onnx/operators/onnx__Gather.html>.

use onnx_graph::ops::Gather;
use tch::{TchError, Tensor};

use super::{Args, i64s};

pub(super) fn run(op: &Gather, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims = x.size();
    let axis = op.axis(dims.len()).unwrap_or(0);
    let size = dims.get(axis).copied().unwrap_or(0);
    let from_end = |&i: &i64| if i < 0 { i + size } else { i };
    let indices: Vec<i64> = op.indices.iter().map(from_end).collect();
    if let ([index], []) = (indices.as_slice(), op.dims.as_slice()) {
        return x.f_select(axis as i64, *index);
    }
    let picked = x.f_index_select(
        axis as i64,
        &Tensor::from_slice(&indices).to_device(x.device()),
    )?;
    let mut out = dims;
    out.splice(axis..=axis, i64s(&op.dims));
    picked.f_reshape(out)
}
