//! Functions of elements: comparisons, logic, casts: <https://onnx.ai/onnx/operators/>.

use onnx_graph::ops::Opaque;
use tch::{TchError, Tensor};

use super::reading::kind;
use crate::ops::Args;

/// Defines functions of two operands that broadcast against each other.
macro_rules! joins {
    ($($name:ident: $function:ident;)*) => {$(
        pub(super) fn $name(_: &Opaque, args: &Args) -> Result<Tensor, TchError> {
            args.need(0)?.$function(args.need(1)?)
        }
    )*};
}

joins! {
    and: f_logical_and;
    or: f_logical_or;
    xor: f_logical_xor;
    equal: f_eq_tensor;
    greater: f_gt_tensor;
    greater_or_equal: f_ge_tensor;
    less: f_lt_tensor;
    less_or_equal: f_le_tensor;
    power: f_pow;
}

pub(super) fn not(_: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    args.need(0)?.f_logical_not()
}

pub(super) fn is_nan(_: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    args.need(0)?.f_isnan()
}

pub(super) fn is_infinite(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    match (op.int("detect_negative", 1), op.int("detect_positive", 1)) {
        (0, 0) => x.f_isinf()?.f_logical_and(&x.f_isnan()?),
        (0, _) => x.f_isposinf(),
        (_, 0) => x.f_isneginf(),
        _ => x.f_isinf(),
    }
}

/// Truncates floats towards zero, as ONNX does.
pub(super) fn cast(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    match op.cast_to().and_then(kind) {
        Some(kind) => args.need(0)?.f_to_kind(kind),
        None => Err(TchError::Torch("a cast to this type is not run".into())),
    }
}

/// The remainder with the sign of the dividend, or else of the divisor.
pub(super) fn modulo(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, by) = (args.need(0)?, args.need(1)?);
    match op.int("fmod", 0) {
        0 => x.f_remainder_tensor(by),
        _ => x.f_fmod_tensor(by),
    }
}

pub(super) fn shrink(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let limit = f64::from(op.float("lambd", 0.5));
    let bias = f64::from(op.float("bias", 0.0));
    let above = x.f_sub_scalar(bias)?.f_mul(&x.f_gt(limit)?)?;
    let below = x.f_add_scalar(bias)?.f_mul(&x.f_lt(-limit)?)?;
    above.f_add(&below)
}
