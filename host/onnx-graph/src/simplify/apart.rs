//! Channels that are merged with the batch for a transposition.

use super::neighbours::Neighbours;
use crate::dims::Product;
use crate::graph::Graph;
use crate::ops::{Op, Reshape, Transpose};
use crate::patch::Patch;
use crate::value::{Dim, NodeId, ValueId};

/// Keeps the leading axes apart that a Reshape merges into one, if a Reshape behind a Transpose
/// has them apart again: MobileViT (Mehta and Rastegari, ICLR 2022) cuts an image into patches
/// this way, and its channels would disappear in an axis of open size.
pub(super) fn apart(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let (producers, last) = (&neighbours.producers, graph.node(id));
    let shape = |v: ValueId| graph.value(v).shape.as_deref();
    let Op::Reshape(_) = &last.op else {
        return None;
    };
    let middle = graph.node(producers[last.input(0)?.index()]?);
    let Op::Transpose(transpose) = &middle.op else {
        return None;
    };
    let first = graph.node(producers[middle.input(0)?.index()]?);
    let Op::Reshape(merge) = &first.op else {
        return None;
    };
    let (from, merged) = (shape(first.input(0)?)?, shape(first.output())?);
    let result = shape(last.output())?;
    let (count, rest) = leading(from, merged.first()?)?;
    let one = Dim::Known(1);
    let factors = from[..count].iter().filter(|&size| *size != one).count() + usize::from(rest > 1);
    let again = result.starts_with(&from[..count]);
    if count < 2 || factors < 2 || !again || transpose.perm.first() != Some(&0) {
        return None;
    }
    let mut target = copied(&from[..count])?;
    target.extend((rest > 1).then(|| i64::try_from(rest)).transpose().ok()?);
    let added = target.len() - 1;
    target.extend(merge.target.get(1..)?);
    // A zero would copy from another position.
    if merge.target[1..].contains(&0) {
        return None;
    }
    let behind = transpose.perm[1..].iter().map(|axis| axis + added);
    let mut patch = Patch::new(&last.name);
    let reshape = |target| Reshape {
        target,
        allow_zero: false,
    };
    let wire = patch.node(&first.name, reshape(target), &[first.input(0)?.into()]);
    let moved = Transpose {
        perm: (0..=added).chain(behind).collect(),
    };
    let wire = patch.node(&middle.name, moved, &[wire]);
    let wire = patch.node(&last.name, reshape(copied(result)?), &[wire]);
    patch.replace(last.output(), wire);
    Some(patch)
}

/// The number of leading sizes of `from` that an open size is a product of, and the factor that
/// is left.
fn leading(from: &[Dim], merged: &Dim) -> Option<(usize, usize)> {
    let mut rest = Product::one().times(merged)?;
    let mut count = 0;
    for size in from {
        match rest.clone().over(&Product::one().times(size)?) {
            Some(less) => (rest, count) = (less, count + 1),
            None => break,
        }
    }
    Some((count, rest.dim().known()?))
}

/// The target of a Reshape to these sizes from a value with the same first size, which may be
/// open.
fn copied(sizes: &[Dim]) -> Option<Vec<i64>> {
    let target = |(i, size): (usize, &Dim)| match size {
        Dim::Known(n) => i64::try_from(*n).ok(),
        Dim::Symbol(_) => (i == 0).then_some(0),
    };
    sizes.iter().enumerate().map(target).collect()
}
