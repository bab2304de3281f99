//! Gemm: <https://onnx.ai/onnx/operators/onnx__Gemm.html>.

use onnx_graph::ops::Gemm;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Gemm, args: &Args) -> Result<Tensor, TchError> {
    let a = args.need_operand(0)?;
    let b = args.need_operand(1)?;
    let c = args.operand(2)?;
    // Transposed views: no weight is copied.
    let a = if op.trans_a { a.f_transpose(0, 1)? } else { a };
    let out_by_in = if op.trans_b { b } else { b.f_transpose(0, 1)? };
    let plain_bias = c
        .as_ref()
        .is_none_or(|c| c.dim() == 1 && c.size()[0] == out_by_in.size()[0]);
    if op.alpha == 1.0 && (c.is_none() || op.beta == 1.0) && plain_bias {
        return a.f_linear(&out_by_in, c.as_ref());
    }
    let mut y = a.f_linear(&out_by_in, None::<&Tensor>)?;
    if op.alpha != 1.0 {
        y = y.f_mul_scalar(f64::from(op.alpha))?;
    }
    match c {
        Some(c) if op.beta != 1.0 => y.f_add(&c.f_mul_scalar(f64::from(op.beta))?),
        Some(c) => y.f_add(&c),
        None => Ok(y),
    }
}
