//! Shapes of the outputs of operators without a typed form.

mod layers;
mod moves;

use super::seen::Seen;
use crate::dims;
use crate::graph::{Dim, Shape};
use crate::ops::reduce;

pub(super) use layers::*;
pub(super) use moves::*;

/// The shapes of a node's outputs, as far as they are known; `None` where nothing is.
pub(super) type Shapes = Option<Vec<Option<Shape>>>;

/// One output of a shape.
fn one(shape: Shape) -> Shapes {
    Some(vec![Some(shape)])
}

/// The first output has the shape of the first input.
pub(super) fn same(seen: &Seen<'_>) -> Shapes {
    one(seen.same(0)?)
}

/// Output and mask have the shape of the first input.
pub(super) fn masked(seen: &Seen<'_>) -> Shapes {
    Some(vec![Some(seen.same(0)?); 2])
}

/// The output has the shape of the second input.
pub(super) fn like_second(seen: &Seen<'_>) -> Shapes {
    one(seen.same(1)?)
}

/// The first output and the fourth, the sum before it is normalised, have the shape of the first input.
pub(super) fn same_with_sum(seen: &Seen<'_>) -> Shapes {
    let shape = seen.same(0)?;
    Some(vec![Some(shape.clone()), None, None, Some(shape)])
}

/// Output, then mean and deviation, of which the normalised axes have size 1.
pub(super) fn layer_norm(seen: &Seen<'_>) -> Shapes {
    let shape = seen.same(0)?;
    let axis = dims::axis(seen.int("axis", -1), shape.len()).ok()?;
    let kept = shape[..axis].iter().cloned();
    let ones = std::iter::repeat_n(Dim::Known(1), shape.len() - axis);
    let statistics: Shape = kept.chain(ones).collect();
    Some(vec![
        Some(shape),
        Some(statistics.clone()),
        Some(statistics),
    ])
}

/// Output, then running mean and variance.
pub(super) fn batch_norm(seen: &Seen<'_>) -> Shapes {
    let running = seen.same(3);
    Some(vec![Some(seen.same(0)?), running.clone(), running])
}

/// Quantised values, then scale and zero point, which are scalars.
pub(super) fn dynamic_quantize(seen: &Seen<'_>) -> Shapes {
    Some(vec![
        Some(seen.same(0)?),
        Some(Vec::new()),
        Some(Vec::new()),
    ])
}

fn broadcast_of(seen: &Seen<'_>, inputs: impl Iterator<Item = usize>) -> Shapes {
    let mut out: Shape = Vec::new();
    for i in inputs {
        out = dims::broadcast(&out, seen.shape(i)?).ok()?;
    }
    one(out)
}

/// All inputs broadcast. Before operator set 7 the second followed the first.
pub(super) fn broadcast(seen: &Seen<'_>) -> Shapes {
    if seen.op.domain.is_empty() && seen.opset() < 7 {
        return same(seen);
    }
    broadcast_of(seen, 0..seen.facts.node.inputs.len())
}

/// Two quantised operands, each followed by scale and zero point.
pub(super) fn broadcast_quantized(seen: &Seen<'_>) -> Shapes {
    broadcast_of(seen, [0, 3].into_iter())
}

/// A condition and two quantised operands.
pub(super) fn where_quantized(seen: &Seen<'_>) -> Shapes {
    broadcast_of(seen, [0, 1, 4].into_iter())
}

/// A reduction whose axes are an attribute or the second input.
pub(super) fn reduction(seen: &Seen<'_>) -> Shapes {
    let x = seen.shape(0)?;
    let keeps = seen.int("keepdims", 1) != 0;
    let quantized = seen.op.op_type.starts_with("QLinear");
    let axes = match seen.ints("axes") {
        Some(axes) => axes,
        None if seen.has_input(1) && !quantized => match seen.list(1) {
            Some(axes) => axes,
            None => {
                return keeps
                    .then(|| (0..x.len()).map(|i| seen.open(i)).collect())
                    .and_then(one);
            }
        },
        None => Vec::new(),
    };
    if axes.is_empty() && seen.int("noop_with_empty_axes", 0) != 0 {
        return same(seen);
    }
    reduce::shapes(&axes, keeps, seen.facts).ok()
}

/// The position of the greatest or least element along an axis.
pub(super) fn arg(seen: &Seen<'_>) -> Shapes {
    let keeps = seen.int("keepdims", 1) != 0;
    reduce::shapes(&[seen.int("axis", 0)], keeps, seen.facts).ok()
}

fn times(dim: &Dim, by: usize) -> Option<Dim> {
    Some(
        dims::Product::one()
            .times(dim)?
            .times(&Dim::Known(by))?
            .dim(),
    )
}

fn over(dim: &Dim, by: usize) -> Option<Dim> {
    match dim {
        Dim::Known(n) => n.checked_div(by).map(Dim::Known),
        Dim::Symbol(_) => None,
    }
}

/// A square matrix, or several, to a number each.
pub(super) fn determinant(seen: &Seen<'_>) -> Shapes {
    let x = seen.shape(0)?;
    one(x[..x.len().checked_sub(2)?].to_vec())
}

/// A number.
pub(super) fn scalar(_: &Seen<'_>) -> Shapes {
    one(Vec::new())
}
