//! Operators along axes: <https://onnx.ai/onnx/operators/onnx__CumSum.html> and others.

use onnx_graph::ops::Opaque;
use tch::{Kind, TchError, Tensor};

use super::reading::{list, number, size};
use crate::ops::Args;

pub(super) fn arg_max(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    extremum(op, args, |x, axis, keep| x.f_argmax(axis, keep))
}

pub(super) fn arg_min(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    extremum(op, args, |x, axis, keep| x.f_argmin(axis, keep))
}

fn extremum(
    op: &Opaque,
    args: &Args,
    find: impl Fn(&Tensor, i64, bool) -> Result<Tensor, TchError>,
) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, op.int("axis", 0));
    let keep = op.int("keepdims", 1) != 0;
    if op.int("select_last_index", 0) == 0 {
        return find(x, axis, keep);
    }
    let size = size(x, axis)?;
    let last = find(&x.f_flip([axis])?, axis, keep)?;
    last.f_neg()?.f_add_scalar(size - 1)
}

pub(super) fn cumulative_sum(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, number(args, 1)?);
    let reverse = op.int("reverse", 0) != 0;
    let turned = if reverse {
        x.f_flip([axis])?
    } else {
        x.shallow_clone()
    };
    let mut sum = turned.f_cumsum(axis, x.kind())?;
    if op.int("exclusive", 0) != 0 {
        sum = sum.f_sub(&turned)?;
    }
    if reverse { sum.f_flip([axis]) } else { Ok(sum) }
}

/// A one at the first greatest element, zeros elsewhere.
pub(super) fn hardmax(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (x, axis) = (args.need(0)?, op.int("axis", -1));
    let first = x.f_argmax(axis, true)?;
    x.f_zeros_like()?.f_scatter_value(axis, &first, 1.0)
}

/// The reduced axes, ascending, and whether they stay.
fn reduced(op: &Opaque, args: &Args) -> Result<(Vec<i64>, bool), TchError> {
    let rank = args.need(0)?.dim() as i64;
    let stated = match (op.ints("axes"), args.get(1)) {
        (Some(axes), _) => axes,
        (None, Some(_)) => list(args, 1)?,
        (None, None) => Vec::new(),
    };
    let mut axes: Vec<i64> = match stated[..] {
        [] if op.int("noop_with_empty_axes", 0) != 0 => Vec::new(),
        [] => (0..rank).collect(),
        _ => stated
            .iter()
            .map(|&a| if a < 0 { a + rank } else { a })
            .collect(),
    };
    axes.sort_unstable();
    Ok((axes, op.int("keepdims", 1) != 0))
}

pub(super) fn product(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (axes, keep) = reduced(op, args)?;
    let mut x = args.need(0)?.shallow_clone();
    for &axis in axes.iter().rev() {
        x = x.f_prod_dim_int(axis, keep, None::<Kind>)?;
    }
    Ok(x)
}

pub(super) fn log_sum(op: &Opaque, args: &Args) -> Result<Tensor, TchError> {
    let (axes, keep) = reduced(op, args)?;
    let x = args.need(0)?;
    if axes.is_empty() {
        return x.f_log();
    }
    x.f_sum_dim_intlist(axes, keep, None::<Kind>)?.f_log()
}
