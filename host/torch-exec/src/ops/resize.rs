//! Resize: <https://onnx.ai/onnx/operators/onnx__Resize.html>.

use onnx_graph::ops::{Coordinates, Extent, Resize, ResizeMode};
use tch::{TchError, Tensor};

use super::Args;

/// Rejects at compile time the forms that libtorch has no function for. All nearest-neighbour
/// forms are supported: they gather by position.
pub(super) fn check(op: &Resize) -> Result<(), String> {
    if !(1..=3).contains(&op.axes()) {
        return Err(
            "one to three axes can be resized, as in signals, images and volumes".to_owned(),
        );
    }
    let grows = match &op.to {
        Extent::Scales(scales) => scales.iter().all(|&s| s >= 1.0),
        // An axis can shrink to one position at worst.
        Extent::Sizes(sizes) => sizes.iter().all(|&s| s > 1),
    };
    match (op.mode, op.coordinates) {
        (ResizeMode::Nearest(_), _)
        | (ResizeMode::Linear, Coordinates::HalfPixel | Coordinates::AlignCorners) => Ok(()),
        // Differs from half pixel only where an axis shrinks to one position.
        (ResizeMode::Linear, Coordinates::PytorchHalfPixel) if grows => Ok(()),
        (mode, coordinates) => Err(format!("{mode:?} with {coordinates:?} is not supported")),
    }
}

pub(super) fn run(op: &Resize, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let dims: Vec<usize> = x.size()[2..].iter().map(|&size| size as usize).collect();
    let resized = |(axis, &size): (usize, &usize)| op.resized(axis, size) as i64;
    let sizes: Vec<i64> = dims.iter().enumerate().map(resized).collect();
    // Positions follow from the exact factors; the sizes are rounded.
    let factor = |axis: usize| match &op.to {
        Extent::Scales(scales) => scales.get(axis).map(|&s| f64::from(s)),
        Extent::Sizes(_) => None,
    };
    let [first, second, third] = [0, 1, 2].map(factor);
    match op.mode {
        ResizeMode::Nearest(_) if dims.len() == 2 && repeats(op, &dims) => {
            x.f_upsample_nearest2d(sizes, first, second)
        }
        ResizeMode::Nearest(_) => {
            let mut out = x.shallow_clone();
            for (axis, &size) in dims.iter().enumerate() {
                let from = op.nearest(axis, size).unwrap_or_default();
                let from: Vec<i64> = from.into_iter().map(|position| position as i64).collect();
                let from = Tensor::from_slice(&from).f_to_device(x.device())?;
                out = out.f_index_select(axis as i64 + 2, &from)?;
            }
            Ok(out)
        }
        _ => {
            let corners = op.coordinates == Coordinates::AlignCorners;
            match dims.len() {
                1 => x.f_upsample_linear1d(sizes, corners, first),
                2 => x.f_upsample_bilinear2d(sizes, corners, first, second),
                _ => x.f_upsample_trilinear3d(sizes, corners, first, second, third),
            }
        }
    }
}

/// Returns whether each position is repeated a whole number of times. For fractional factors
/// libtorch multiplies where ONNX Runtime divides, and picks another neighbour at some positions.
fn repeats(op: &Resize, dims: &[usize]) -> bool {
    let whole = match &op.to {
        Extent::Scales(scales) => scales.iter().all(|s| s.fract() == 0.0),
        Extent::Sizes(_) => false,
    };
    let repeated = |(axis, &size): (usize, &usize)| {
        let from = op.nearest(axis, size).unwrap_or_default();
        let times = from.len() / size.max(1);
        from.into_iter()
            .enumerate()
            .all(|(to, from)| from == to / times.max(1))
    };
    whole && dims.iter().enumerate().all(repeated)
}
