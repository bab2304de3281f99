//! Zeros that are concatenated.

use super::neighbours::Neighbours;
use crate::AttributeValue;
use crate::graph::Graph;
use crate::ops::{Op, Pad, PadMode};
use crate::patch::Patch;
use crate::value::{Dim, NodeId, ValueId};
use crate::{DType, Tensor};

/// Replaces a concatenation of a value and zeros by a padding, as in the short-cut of option A of
/// He et al. 2016: where zeros are an input, their number would follow no channels.
pub(super) fn padding(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Concat(op) = &node.op else {
        return None;
    };
    let rank = graph.value(node.output()).shape.as_ref()?.len();
    let axis = op.axis(rank)?;
    let parts: Vec<ValueId> = node.inputs.iter().copied().collect::<Option<_>>()?;
    // Other constants may be parameters that training has not moved yet, such as a class token.
    let is_zero = |v: ValueId| {
        let constant = || {
            graph
                .constant(v)
                .is_some_and(|t| (rank, axis) == (4, 1) && zero(t))
        };
        constant() || neighbours.producers[v.index()].is_some_and(|p| fills(graph, p))
    };
    let mut others = (0..parts.len()).filter(|&i| !is_zero(parts[i]));
    let (Some(at), None) = (others.next(), others.next()) else {
        return None;
    };
    let source = graph.value(parts[at]);
    if parts.len() < 2 || source.dtype != Some(DType::F32) || source.shape.as_ref()?.len() != rank {
        return None;
    }
    let size = |&v: &ValueId| {
        graph
            .value(v)
            .shape
            .as_ref()?
            .get(axis)
            .and_then(Dim::known)
    };
    let total = |parts: &[ValueId]| {
        let total: usize = parts.iter().map(size).sum::<Option<_>>()?;
        i64::try_from(total).ok()
    };
    let mut pads = vec![0; 2 * rank];
    pads[axis] = total(&parts[..at])?;
    pads[axis + rank] = total(&parts[at + 1..])?;
    let mut patch = Patch::new(&node.name);
    let pad = Pad {
        pads,
        mode: PadMode::Constant,
        value: 0.0,
    };
    let wire = patch.node(&node.name, pad, &[parts[at].into()]);
    patch.replace(node.output(), wire);
    Some(patch)
}

/// Whether all elements are zero.
pub(super) fn zero(tensor: &Tensor) -> bool {
    tensor
        .as_f32()
        .is_some_and(|all| all.iter().all(|&x| x == 0.0))
}

/// Whether a node fills its output with zeros.
pub(super) fn fills(graph: &Graph, id: NodeId) -> bool {
    let Op::Opaque(op) = &graph.node(id).op else {
        return false;
    };
    let zeros = match op.attribute("value") {
        None => true,
        Some(AttributeValue::Tensor(value)) => zero(value),
        Some(_) => false,
    };
    zeros && op.domain.is_empty() && op.op_type == "ConstantOfShape"
}
