//! Norms over windows: <https://onnx.ai/onnx/operators/onnx__LpPool.html>.

use onnx_graph::ops::Opaque;
use tch::{Kind, TchError, Tensor};

use crate::ops::Args;

pub(super) fn global_norm(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let p = op.int("p", 2) as f64;
    let axes: Vec<i64> = (2..x.dim() as i64).collect();
    let powers = x.f_abs()?.f_pow_tensor_scalar(p)?;
    let sum = powers.f_sum_dim_intlist(axes, true, None::<Kind>)?;
    sum.f_pow_tensor_scalar(1.0 / p)
}

pub(super) fn norm(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let refuse = |what: &str| Err(TchError::Torch(format!("LpPool with {what} is not run")));
    let kernel = op.ints("kernel_shape").unwrap_or_default();
    let ones = || vec![1; kernel.len()];
    if op.ints("dilations").is_some_and(|d| d != ones()) {
        return refuse("dilations");
    }
    if kernel.len() != 2 || op.int("ceil_mode", 0) != 0 {
        return refuse("this window");
    }
    if !matches!(op.text("auto_pad"), None | Some("NOTSET" | "VALID")) {
        return refuse("automatic padding");
    }
    let p = op.int("p", 2) as f64;
    let strides = op.ints("strides").unwrap_or_else(ones);
    let pads = op.ints("pads").unwrap_or_else(|| vec![0; 4]);
    let &[top, left, bottom, right] = &pads[..] else {
        return refuse("this padding");
    };
    let powers = x.f_abs()?.f_pow_tensor_scalar(p)?;
    let padded = powers.f_constant_pad_nd([left, right, top, bottom])?;
    let mean = padded.f_avg_pool2d(&kernel[..], &strides[..], [0, 0], false, true, None::<i64>)?;
    let count = kernel.iter().product::<i64>() as f64;
    mean.f_mul_scalar(count)?.f_pow_tensor_scalar(1.0 / p)
}
