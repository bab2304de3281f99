//! LayerNormalization: <https://onnx.ai/onnx/operators/onnx__LayerNormalization.html>.

use onnx_graph::ops::LayerNormalization;
use tch::{Kind, TchError, Tensor};

use super::Args;

pub(super) fn run(op: &LayerNormalization, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims = x.size();
    let axis = op.axis(dims.len()).unwrap_or(0);
    let (scale, bias) = (args.need(1)?, args.get(2));
    // Statistics and parameters stay in full precision under bfloat16.
    let full = x.f_to_kind(Kind::Float)?;
    let spread = |p: &Tensor| p.f_expand(&dims[axis..], false)?.f_contiguous();
    let (scale, bias) = (spread(scale)?, bias.map(spread).transpose()?);
    let out = full.f_layer_norm(
        &dims[axis..],
        Some(&scale),
        bias.as_ref(),
        f64::from(op.epsilon),
        false,
    )?;
    out.f_to_kind(x.kind())
}
