//! [Gather](https://onnx.ai/onnx/operators/onnx__Gather.html) along an axis other than the
//! channels, such as that of the tokens, or of channels by a list of their numbers.

use onnx_graph::ops::Gather;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit, Map};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Gather) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some(axis) = cx.input_rank(node).and_then(|rank| op.axis(rank)) else {
        return cx.pin_inputs(node, "a gathering of unknown rank");
    };
    if axis == map.axis {
        return picked(cx, id, node, op, map);
    }
    let to = if axis < map.axis {
        map.axis + op.dims.len() - 1
    } else {
        map.axis
    };
    cx.set(node.output(), to, map.atoms);
}

/// Channels by number: those that are left have new numbers.
fn picked(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Gather, map: Map) {
    let at = |&i: &i64| Context::axis(i, map.atoms.len()).map(|at| map.atoms[at]);
    let atoms: Option<Vec<u32>> = op.indices.iter().map(at).collect();
    let Some(atoms) = atoms.filter(|_| op.dims.len() <= 1) else {
        return cx.pin_inputs(node, "channels that are picked by a table of numbers");
    };
    let output = cx.list(atoms);
    if op.dims.len() == 1 {
        cx.set(node.output(), map.axis, output.clone());
    } else {
        cx.pin(&output, &node.name, "a channel that is picked by number");
    }
    let input = map.atoms;
    cx.edits.push((id, Edit::Gather { input, output }));
}
