//! Shape rules of operators without a typed form.

mod layers;
mod moves;

use super::node::OpaqueNode;
use super::signature::Shapes;
use crate::dims;
use crate::ops::reduce;
use crate::value::{Dim, Shape};

pub(super) use layers::*;
pub(super) use moves::*;

/// Shapes of a single output.
fn one(shape: Shape) -> Shapes {
    Some(vec![Some(shape)])
}

/// The first output has the shape of the first input.
pub(super) fn same(node: &OpaqueNode<'_>) -> Shapes {
    one(node.same(0)?)
}

/// The output and the mask have the shape of the first input.
pub(super) fn masked(node: &OpaqueNode<'_>) -> Shapes {
    Some(vec![Some(node.same(0)?); 2])
}

/// The output has the shape of the second input.
pub(super) fn like_second(node: &OpaqueNode<'_>) -> Shapes {
    one(node.same(1)?)
}

/// The first output and the fourth, the sum before normalisation, have the shape of the first
/// input.
pub(super) fn same_with_sum(node: &OpaqueNode<'_>) -> Shapes {
    let shape = node.same(0)?;
    Some(vec![Some(shape.clone()), None, None, Some(shape)])
}

/// The output, then mean and deviation, whose normalised axes have size 1.
pub(super) fn layer_norm(node: &OpaqueNode<'_>) -> Shapes {
    let shape = node.same(0)?;
    let axis = dims::axis(node.int("axis", -1), shape.len()).ok()?;
    let kept = shape[..axis].iter().cloned();
    let ones = std::iter::repeat_n(Dim::Known(1), shape.len() - axis);
    let statistics: Shape = kept.chain(ones).collect();
    Some(vec![
        Some(shape),
        Some(statistics.clone()),
        Some(statistics),
    ])
}

/// The output, then running mean and variance.
pub(super) fn batch_norm(node: &OpaqueNode<'_>) -> Shapes {
    let running = node.same(3);
    Some(vec![Some(node.same(0)?), running.clone(), running])
}

/// The quantised values, then scale and zero point, which are scalars.
pub(super) fn dynamic_quantize(node: &OpaqueNode<'_>) -> Shapes {
    Some(vec![
        Some(node.same(0)?),
        Some(Vec::new()),
        Some(Vec::new()),
    ])
}

fn broadcast_of(node: &OpaqueNode<'_>, inputs: impl Iterator<Item = usize>) -> Shapes {
    let mut out: Shape = Vec::new();
    for i in inputs {
        out = dims::broadcast(&out, node.shape(i)?).ok()?;
    }
    one(out)
}

/// All inputs broadcast. Before opset 7 the second broadcasts to the first.
pub(super) fn broadcast(node: &OpaqueNode<'_>) -> Shapes {
    if node.op.domain.is_empty() && node.opset() < 7 {
        return same(node);
    }
    broadcast_of(node, 0..node.facts.inputs.len())
}

/// Two quantised operands broadcast, each followed by scale and zero point.
pub(super) fn broadcast_quantized(node: &OpaqueNode<'_>) -> Shapes {
    broadcast_of(node, [0, 3].into_iter())
}

/// A condition and two quantised operands broadcast.
pub(super) fn where_quantized(node: &OpaqueNode<'_>) -> Shapes {
    broadcast_of(node, [0, 1, 4].into_iter())
}

/// A reduction whose axes are an attribute or the second input.
pub(super) fn reduction(node: &OpaqueNode<'_>) -> Shapes {
    let x = node.shape(0)?;
    let keeps = node.int("keepdims", 1) != 0;
    let quantized = node.op.op_type.starts_with("QLinear");
    let axes = match node.ints("axes") {
        Some(axes) => axes,
        None if node.has_input(1) && !quantized => match node.list(1) {
            Some(axes) => axes,
            None => {
                return keeps
                    .then(|| (0..x.len()).map(|i| node.open(i)).collect())
                    .and_then(one);
            }
        },
        None => Vec::new(),
    };
    if axes.is_empty() && node.int("noop_with_empty_axes", 0) != 0 {
        return same(node);
    }
    reduce::shapes(&axes, keeps, node.facts).ok()
}

/// A reduction over the attribute `axis`.
pub(super) fn arg(node: &OpaqueNode<'_>) -> Shapes {
    let keeps = node.int("keepdims", 1) != 0;
    reduce::shapes(&[node.int("axis", 0)], keeps, node.facts).ok()
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

/// A number per matrix.
pub(super) fn determinant(node: &OpaqueNode<'_>) -> Shapes {
    let x = node.shape(0)?;
    one(x[..x.len().checked_sub(2)?].to_vec())
}

/// A number.
pub(super) fn scalar(_: &OpaqueNode<'_>) -> Shapes {
    one(Vec::new())
}

/// No output has a known shape.
pub(super) fn unknown(_: &OpaqueNode<'_>) -> Shapes {
    None
}
