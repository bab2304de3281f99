//! Pad: <https://onnx.ai/onnx/operators/onnx__Pad.html>.

use onnx_graph::ops::{Pad, PadMode};
use tch::{TchError, Tensor};

use super::Args;

/// Rejects at compile time the forms that libtorch can't pad.
pub(super) fn check(op: &Pad) -> Result<(), String> {
    let rank = op.pads.len() / 2;
    let outer = (0..rank.min(2)).any(|axis| op.pads[axis] != 0 || op.pads[axis + rank] != 0);
    match op.mode {
        PadMode::Constant => Ok(()),
        PadMode::Reflect | PadMode::Edge if !outer => Ok(()),
        PadMode::Reflect | PadMode::Edge => {
            Err("reflecting or repeating is supported on spatial axes only".to_owned())
        }
    }
}

pub(super) fn run(op: &Pad, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let rank = op.pads.len() / 2;
    let first = if matches!(op.mode, PadMode::Constant) {
        0
    } else {
        rank.min(2)
    };
    let pads: Vec<i64> = (first..rank)
        .rev()
        .flat_map(|axis| [op.pads[axis], op.pads[axis + rank]])
        .collect();
    match op.mode {
        PadMode::Constant => x.f_pad(pads, "constant", f64::from(op.value)),
        PadMode::Reflect => x.f_pad(pads, "reflect", None::<f64>),
        PadMode::Edge => x.f_pad(pads, "replicate", None::<f64>),
    }
}
