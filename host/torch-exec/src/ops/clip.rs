//! Clip: <https://onnx.ai/onnx/operators/onnx__Clip.html>.

use onnx_graph::ops::Clip;
use tch::{TchError, Tensor};

use super::Args;

pub(super) fn run(op: &Clip, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    match (op.min, op.max) {
        (Some(0.0), Some(6.0)) => x.f_relu6(),
        (Some(0.0), None) => x.f_relu(),
        (Some(min), Some(max)) => x.f_clamp(f64::from(min), f64::from(max)),
        (Some(min), None) => x.f_clamp_min(f64::from(min)),
        (None, Some(max)) => x.f_clamp_max(f64::from(max)),
        (None, None) => Ok(x.shallow_clone()),
    }
}
