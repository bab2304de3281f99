//! InstanceNormalization: <https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html>.

use onnx_graph::ops::InstanceNormalization;
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn run(op: &InstanceNormalization, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    // Statistics stay in full precision under bfloat16.
    let full = x.f_to_kind(Kind::Float)?;
    let (scale, bias) = (args.need(1)?.f_contiguous()?, args.need(2)?.f_contiguous()?);
    let (own, none) = (true, None::<Tensor>);
    let out = full.f_instance_norm(
        Some(&scale),
        Some(&bias),
        none.as_ref(),
        none.as_ref(),
        own,
        0.0,
        f64::from(op.epsilon),
        false,
    )?;
    out.f_to_kind(x.kind())
}
