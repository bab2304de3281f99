//! Picking along one axis by constant numbers.

use super::neighbours::Neighbours;
use crate::graph::Graph;
use crate::ops::{Gather, Op};
use crate::patch::Patch;
use crate::value::NodeId;

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
