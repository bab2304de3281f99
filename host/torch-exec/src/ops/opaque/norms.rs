//! Normalisations: <https://onnx.ai/onnx/operators/onnx__LRN.html> and others.

use onnx_graph::ops::Opaque;
use tch::{Kind, TchError, Tensor};

use crate::ops::Args;

/// Each channel over a power of the sum of squares of its neighbours.
pub(super) fn local_response(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let size = op.int("size", 1);
    let alpha = f64::from(op.float("alpha", 1e-4));
    let beta = f64::from(op.float("beta", 0.75));
    let bias = f64::from(op.float("bias", 1.0));
    let sizes = x.size();
    // Channels become the rows of an image of one channel; the window is padded by zeros.
    let squares = x.f_square()?.f_reshape([sizes[0], 1, sizes[1], -1])?;
    let (before, after) = ((size - 1) / 2, size / 2);
    let padded = squares.f_constant_pad_nd([0, 0, before, after])?;
    let mean = padded.f_avg_pool2d([size, 1], [1, 1], [0, 0], false, true, None::<i64>)?;
    let share = mean.f_mul_scalar(alpha)?.f_add_scalar(bias)?;
    x.f_div(&share.f_pow_tensor_scalar(beta)?.f_reshape(&sizes)?)
}

/// Each element over the norm along an axis; zeros stay zero.
pub(super) fn lp(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, op.int("axis", -1));
    let norm = match op.int("p", 2) {
        1 => x
            .f_abs()?
            .f_sum_dim_intlist(&[axis][..], true, None::<Kind>)?,
        _ => x
            .f_square()?
            .f_sum_dim_intlist(&[axis][..], true, None::<Kind>)?
            .f_sqrt()?,
    };
    let zero = norm.f_eq(0.0)?;
    x.f_div(&norm.f_masked_fill(&zero, 1.0)?)
}

pub(super) fn mean_variance(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    /// What ONNX adds to the deviation.
    const EPSILON: f64 = 1e-9;
    let x = args.need(0)?;
    let axes = op.ints("axes").unwrap_or_else(|| vec![0, 2, 3]);
    let mean = x.f_mean_dim(&axes[..], true, None::<Kind>)?;
    let centred = x.f_sub(&mean)?;
    let variance = centred
        .f_square()?
        .f_mean_dim(&axes[..], true, None::<Kind>)?;
    centred.f_div(&variance.f_sqrt()?.f_add_scalar(EPSILON)?)
}

/// `x / sqrt(mean(x^2) + epsilon) * scale` over the axes from one on.
pub(super) fn root_mean_square(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let rank = x.dim() as i64;
    let first = op.int("axis", -1);
    let first = if first < 0 { first + rank } else { first };
    let axes: Vec<i64> = (first..rank).collect();
    let epsilon = f64::from(op.float("epsilon", 1e-5));
    let full = x.f_to_kind(Kind::Float)?;
    let square = full.f_square()?.f_mean_dim(&axes[..], true, None::<Kind>)?;
    let share = square.f_add_scalar(epsilon)?.f_rsqrt()?;
    full.f_mul(&share)?
        .f_mul(args.need(1)?)?
        .f_to_kind(x.kind())
}
