//! Flatten: <https://onnx.ai/onnx/operators/onnx__Flatten.html>.

use onnx_graph::ops::Flatten;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Flatten, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims = x.size();
    let axis = if op.axis < 0 {
        op.axis + dims.len() as i64
    } else {
        op.axis
    };
    let axis = usize::try_from(axis).unwrap_or(0).min(dims.len());
    let rows: i64 = dims[..axis].iter().product();
    let columns: i64 = dims[axis..].iter().product();
    x.f_reshape([rows, columns])
}
