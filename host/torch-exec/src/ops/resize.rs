//! Resize: <https://onnx.ai/onnx/operators/onnx__Resize.html>.

use onnx_graph::ops::{Coordinates, Resize, ResizeMode, Rounding};
use tch::{TchError, Tensor};

use super::Args;

/// Refuses at compile time what libtorch has no function for.
pub(super) fn check(op: &Resize) -> Result<(), String> {
    if op.scales.len() != 2 {
        return Err("two axes can be resized, as in images".to_owned());
    }
    let whole = op.scales.iter().all(|s| s.fract() == 0.0);
    let grows = op.scales.iter().all(|&s| s >= 1.0);
    match (op.mode, op.coordinates) {
        // By whole factors, the rounded middle of a position is the same neighbour.
        (
            ResizeMode::Nearest(Rounding::RoundPreferFloor | Rounding::RoundPreferCeil),
            Coordinates::HalfPixel | Coordinates::PytorchHalfPixel,
        ) if whole => Ok(()),
        (ResizeMode::Nearest(Rounding::Floor), Coordinates::Asymmetric)
        | (ResizeMode::Linear, Coordinates::HalfPixel | Coordinates::AlignCorners) => Ok(()),
        // It differs from the half pixel where an axis shrinks to one position only.
        (ResizeMode::Linear, Coordinates::PytorchHalfPixel) if grows => Ok(()),
        (mode, coordinates) => Err(format!("{mode:?} with {coordinates:?} is not supported")),
    }
}

pub(super) fn run(op: &Resize, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let sizes: Vec<i64> = x.size()[2..]
        .iter()
        .enumerate()
        .map(|(axis, &size)| op.resized(axis, size as usize) as i64)
        .collect();
    // Positions follow from the factors, not from the sizes, which are rounded.
    let [height, width] = [0, 1].map(|i| op.scales.get(i).map(|&s| f64::from(s)));
    match op.mode {
        ResizeMode::Nearest(_) => x.f_upsample_nearest2d(sizes, height, width),
        _ => {
            let corners = op.coordinates == Coordinates::AlignCorners;
            x.f_upsample_bilinear2d(sizes, corners, height, width)
        }
    }
}
