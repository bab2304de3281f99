//! GroupNormalization: <https://onnx.ai/onnx/operators/onnx__GroupNormalization.html>.

use onnx_graph::ops::GroupNormalization;
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn run(op: &GroupNormalization, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    // Statistics stay in full precision under bfloat16.
    let full = x.f_to_kind(Kind::Float)?;
    let (scale, bias) = (args.need(1)?.f_contiguous()?, args.need(2)?.f_contiguous()?);
    let out = full.f_group_norm(
        op.groups as i64,
        Some(&scale),
        Some(&bias),
        f64::from(op.epsilon),
        false,
    )?;
    out.f_to_kind(x.kind())
}
