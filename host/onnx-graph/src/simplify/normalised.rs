//! Groups of channels that are merged with open positions for their normalisation.

use super::neighbours::Neighbours;
use crate::graph::Graph;
use crate::ops::{Op, Reshape};
use crate::patch::Patch;
use crate::value::{Dim, NodeId};

/// Keeps the channels of each group apart from the positions, which a group normalisation in the
/// form of PyTorch's exports merges for an InstanceNormalization and has apart again behind it.
/// Where positions are open, the channels would disappear in an axis of open size.
pub(super) fn apart(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let (producers, last) = (&neighbours.producers, graph.node(id));
    let again = match &last.op {
        Op::Reshape(op) => !op.target.iter().skip(1).any(|&size| size == 0),
        Op::Opaque(op) => op.domain.is_empty() && op.op_type == "Reshape",
        _ => false,
    };
    let middle = graph.node(producers[last.input(0)?.index()]?);
    let first = graph.node(producers[middle.input(0)?.index()]?);
    let (Op::InstanceNormalization(_), Op::Reshape(merge), true) = (&middle.op, &first.op, again)
    else {
        return None;
    };
    let x = first.input(0)?;
    let (from, to) = (
        graph.value(x).shape.as_ref()?,
        graph.value(last.output()).shape.as_ref()?,
    );
    let &[0, groups, -1] = merge.target.as_slice() else {
        return None;
    };
    let channels = from.get(1)?.known()?;
    let count = usize::try_from(groups).ok().filter(|&n| n > 0)?;
    let size = channels.checked_div(count)?;
    let open = from[2..].iter().any(|dim| dim.known().is_none());
    let same = to.len() == from.len() && to[1] == Dim::Known(channels);
    if merge.allow_zero || !open || !same || size < 2 || size * count != channels {
        return None;
    }
    let mut patch = Patch::new(&last.name);
    let split = Reshape {
        target: vec![0, groups, i64::try_from(size).ok()?, -1],
        allow_zero: false,
    };
    let wire = patch.node(&first.name, split, &[x.into()]);
    let (scale, bias) = (middle.input(1)?, middle.input(2)?);
    let inputs = [wire, scale.into(), bias.into()];
    let wire = patch.node(&middle.name, middle.op.clone(), &inputs);
    let mut inputs = vec![wire];
    for &sizes in last.inputs[1..].iter().flatten() {
        inputs.push(sizes.into());
    }
    let wire = patch.node(&last.name, last.op.clone(), &inputs);
    patch.replace(last.output(), wire);
    Some(patch)
}
