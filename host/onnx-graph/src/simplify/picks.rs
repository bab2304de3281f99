//! Picking along one axis by constant numbers.

use super::neighbours::Neighbours;
use crate::graph::Graph;
use crate::ops::{Gather, Op};
use crate::patch::Patch;
use crate::value::NodeId;

/// Replaces a Squeeze of a part of size one of a Split by a Gather, the form of an index: PyTorch's
/// exporters write the other for `unbind`.
pub(super) fn unbound(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Squeeze(squeeze) = &node.op else {
        return None;
    };
    let part = node.input(0)?;
    let source = graph.node(neighbours.producers[part.index()]?);
    let Op::Split(split) = &source.op else {
        return None;
    };
    let from = source.input(0)?;
    let rank = graph.value(from).shape.as_ref()?.len();
    let axis = split.axis(rank)?;
    let position = source.outputs.iter().position(|o| *o == Some(part))?;
    if !squeeze.axes(rank)?.iter().eq([&axis]) || *split.sizes.get(position)? != 1 {
        return None;
    }
    let index: usize = split.sizes[..position].iter().sum();
    let gather = Gather {
        axis: i64::try_from(axis).ok()?,
        indices: vec![i64::try_from(index).ok()?],
        dims: Vec::new(),
    };
    let mut patch = Patch::new(&node.name);
    let wire = patch.node(&node.name, gather, &[from.into()]);
    patch.replace(node.output(), wire);
    Some(patch)
}

/// Replaces a GatherND that picks along the first axis by a Gather, which PyTorch's newer exporter
/// writes the other way around for an index by a list.
pub(super) fn by_number(graph: &Graph, _: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Opaque(op) = &node.op else {
        return None;
    };
    if op.op_type != "GatherND" || !op.domain.is_empty() || op.int("batch_dims", 0) != 0 {
        return None;
    }
    let numbers = graph.constant_input(node, 1)?;
    let (&[.., 1], indices) = (numbers.dims(), numbers.to_i64s()?) else {
        return None;
    };
    let dims = numbers.dims()[..numbers.dims().len() - 1].to_vec();
    let mut patch = Patch::new(&node.name);
    let gather = Gather {
        axis: 0,
        indices,
        dims,
    };
    let wire = patch.node(&node.name, gather, &[node.input(0)?.into()]);
    patch.replace(node.output(), wire);
    Some(patch)
}
