//! DequantizeLinear: <https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html>.

use onnx_graph::ops::DequantizeLinear;
use tch::{TchError, Tensor};

use super::Args;

/// Scales integers. The tensor holds them as floats.
pub(super) fn run(op: &DequantizeLinear, args: &Args) -> Result<Tensor, TchError> {
    let quantization = op.0;
    let distance = args
        .need(0)?
        .f_sub_scalar(f64::from(quantization.zero_point))?;
    distance.f_mul_scalar(f64::from(quantization.scale))
}
