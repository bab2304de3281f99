//! QuantizeLinear: <https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html>.

use onnx_graph::ops::QuantizeLinear;
use tch::{Kind, TchError, Tensor};

use super::Args;

/// The integers, as floats. The gradient is that of the division within the range and zero beyond
/// it: rounding passes gradients straight through (Bengio et al., 2013, arXiv 1308.3432).
pub(super) fn run(op: &QuantizeLinear, args: &Args) -> Result<Tensor, TchError> {
    let quantization = op.0;
    let (low, high) = quantization.integers();
    let x = args.need(0)?.f_to_kind(Kind::Float)?;
    let steps = x.f_div_scalar(f64::from(quantization.scale))?;
    let rounded = match steps.requires_grad() {
        true => steps.f_add(&steps.f_round()?.f_sub(&steps)?.f_detach()?)?,
        false => steps.f_round()?,
    };
    rounded
        .f_add_scalar(f64::from(quantization.zero_point))?
        .f_clamp(f64::from(low), f64::from(high))
}
