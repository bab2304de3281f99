//! Further functions of every element alone: <https://onnx.ai/onnx/operators/>.

use onnx_graph::ops::{Celu, Elu, Selu, Swish, ThresholdedRelu};
use tch::{TchError, Tensor};

use super::Args;

/// `x` where it is positive, `scale * (e^(x / slope) - 1)` elsewhere.
fn exponential(x: &Tensor, scale: f32, slope: f32) -> Result<Tensor, TchError> {
    let below = x.f_clamp_max(0.0)?.f_mul_scalar(1.0 / f64::from(slope))?;
    let below = below.f_expm1()?.f_mul_scalar(f64::from(scale))?;
    x.f_clamp_min(0.0)?.f_add(&below)
}

pub(super) fn elu(op: &Elu, args: &Args) -> Result<Tensor, TchError> {
    exponential(args.need(0)?, op.alpha, 1.0)
}

pub(super) fn celu(op: &Celu, args: &Args) -> Result<Tensor, TchError> {
    exponential(args.need(0)?, op.alpha, op.alpha)
}

pub(super) fn selu(op: &Selu, args: &Args) -> Result<Tensor, TchError> {
    exponential(args.need(0)?, op.alpha, 1.0)?.f_mul_scalar(f64::from(op.gamma))
}

pub(super) fn softsign(args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_div(&x.f_abs()?.f_add_scalar(1.0)?)
}

pub(super) fn swish(op: &Swish, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_mul(&x.f_mul_scalar(f64::from(op.alpha))?.f_sigmoid()?)
}

pub(super) fn thresholded_relu(op: &ThresholdedRelu, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    x.f_where_self(&x.f_gt(f64::from(op.alpha))?, &x.f_zeros_like()?)
}
