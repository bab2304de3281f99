//! Operators that move elements: <https://onnx.ai/onnx/operators/onnx__Tile.html> and others.

use onnx_graph::ops::Opaque;
use tch::{Kind, TchError, Tensor};

use super::reading::{list, number, position, size};
use crate::ops::Args;

pub(super) fn tile(_: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    args.need(0)?.f_repeat(list(args, 1)?)
}

/// The upper or the lower triangles of matrices.
pub(super) fn triangle(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let x = args.need(0)?;
    let diagonal = match args.get(1) {
        Some(_) => number(args, 1)?,
        None => 0,
    };
    match op.int("upper", 1) {
        0 => x.f_tril(diagonal),
        _ => x.f_triu(diagonal),
    }
}

/// Numbers of entries along an axis; negative ones count from the end.
fn positions(x: &Tensor, numbers: &Tensor, axis: i64) -> Result<Tensor, TchError> {
    let size = size(x, axis)?;
    numbers.f_to_kind(Kind::Int64)?.f_remainder(size)
}

pub(super) fn gather(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, op.int("axis", 0));
    let numbers = positions(x, args.need(1)?, axis)?;
    let rows = x.f_index_select(axis, &numbers.f_flatten(0, -1)?)?;
    let at = position(x, axis)?;
    let mut sizes = x.size();
    sizes.splice(at..=at, numbers.size());
    rows.f_reshape(sizes)
}

pub(super) fn gather_elements(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, op.int("axis", 0));
    let numbers = positions(x, args.need(1)?, axis)?;
    x.f_gather(axis, &numbers, false)
}

pub(super) fn grid_sample(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let mode = match op.text("mode").unwrap_or("linear") {
        "linear" | "bilinear" => 0,
        "nearest" => 1,
        "cubic" | "bicubic" => 2,
        other => return Err(TchError::Torch(format!("sampling mode {other}"))),
    };
    let padding = match op.text("padding_mode").unwrap_or("zeros") {
        "zeros" => 0,
        "border" => 1,
        "reflection" => 2,
        other => return Err(TchError::Torch(format!("padding mode {other}"))),
    };
    let aligned = op.int("align_corners", 0) != 0;
    args.need(0)?
        .f_grid_sampler(args.need(1)?, mode, padding, aligned)
}
