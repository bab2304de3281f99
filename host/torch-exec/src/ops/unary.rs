//! Relu, LeakyRelu and HardSigmoid: <https://onnx.ai/onnx/operators/>.

use onnx_graph::ops::{HardSigmoid, LeakyRelu};
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn relu(args: &mut Args) -> Result<Tensor, TchError> {
    match args.scratch(0) {
        Some(x) => x.f_relu_(),
        None => args.need(0)?.f_relu(),
    }
}

pub(super) fn leaky_relu(op: &LeakyRelu, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    if op.alpha == 0.01 {
        return x.f_leaky_relu();
    }
    // tch's leaky_relu takes no slope; prelu with one constant slope is the same function.
    let slope = Tensor::from_slice(&[op.alpha])
        .f_to_device(x.device())?
        .f_to_kind(x.kind())?;
    x.f_prelu(&slope)
}

pub(super) fn hard_sigmoid(op: &HardSigmoid, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    // Exporters write one sixth rounded in different ways.
    if (op.alpha - 1.0 / 6.0).abs() < 1e-6 && op.beta == 0.5 {
        return x.f_hardsigmoid();
    }
    x.f_mul_scalar(f64::from(op.alpha))?
        .f_add_scalar(f64::from(op.beta))?
        .f_clamp(0.0, 1.0)
}
