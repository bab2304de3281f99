//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html) to sizes that are computed; several
//! may be open. The channels continue as in a [Reshape](super::reshape) to constant sizes;
//! their number is an entry of the list.

use onnx_graph::ops::{Op, Opaque};
use onnx_graph::{Dim, Node, NodeId, ValueId};

use super::reshape::continued;
use super::sizes::READ;
use crate::atoms::{Atoms, Context, Edit};

pub(super) fn is(op: &Opaque) -> bool {
    op.domain.is_empty() && op.op_type == "Reshape"
}

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node) {
    let map = cx.map(node, 0);
    let landed = map.and_then(|map| continued(cx, id, node, &map));
    let counts = cx.counts(node, 1);
    let (own, others): (Vec<_>, Vec<_>) = counts
        .into_iter()
        .partition(|count| landed.as_ref().is_some_and(|(axis, _)| *axis == count.at));
    for count in others {
        cx.pin(&count.atoms, &node.name, READ);
    }
    let Some((axis, atoms)) = landed else {
        return cx.pin_inputs(node, "a reshape that mixes the channels with an open size");
    };
    let follows = match own.first() {
        Some(count) if count.atoms.len() == atoms.len() => {
            cx.unite(&atoms, &count.atoms);
            true
        }
        Some(count) => {
            cx.pin(&count.atoms, &node.name, READ);
            false
        }
        None => stated(cx, id, node, axis, &atoms),
    };
    if follows {
        cx.set(node.output(), axis, atoms);
    } else {
        cx.pin_inputs(node, "a reshape to a computed number of channels");
    }
}

/// Whether the list of sizes has the number of channels as a constant part of its own, or infers
/// it; the part then follows the channels.
fn stated(cx: &mut Context<'_>, id: NodeId, node: &Node, axis: usize, atoms: &Atoms) -> bool {
    let Some((part, alone)) = part(cx, node, axis) else {
        return false;
    };
    let number = cx.graph.constant(part).and_then(|t| t.to_i64s());
    match number.as_deref() {
        Some([-1]) => true,
        Some(&[n]) if alone && usize::try_from(n) == Ok(atoms.len()) => {
            let output = atoms.clone();
            cx.edits.push((id, Edit::Number { part, output }));
            true
        }
        _ => false,
    }
}

/// The part of a concatenated list with its entry `at`, and whether only this node reads it.
fn part(cx: &Context<'_>, node: &Node, at: usize) -> Option<(ValueId, bool)> {
    let list = node.input(1)?;
    let join = cx.graph.node(cx.ends.producers[list.index()]?);
    if !matches!(join.op, Op::Concat(_)) {
        return None;
    }
    let length = |v: ValueId| match cx.graph.value(v).shape.as_deref() {
        Some([Dim::Known(n)]) => Some(*n),
        _ => None,
    };
    let mut start = 0;
    let mut found = None;
    for part in join.inputs.iter().flatten() {
        let length = length(*part)?;
        if start == at && length == 1 {
            found = Some(*part);
        }
        start += length;
    }
    let part = found?;
    let read_once = |v: ValueId| cx.consumers(v).len() == 1 && !cx.graph.outputs().contains(&v);
    Some((part, read_once(list) && read_once(part)))
}
