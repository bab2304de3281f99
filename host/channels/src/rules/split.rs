//! [Split](https://onnx.ai/onnx/operators/onnx__Split.html): along the channel axis the list of
//! atoms is cut.

use onnx_graph::ops::Split;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Split) {
    let Some(map) = cx.map(node, 0) else { return };
    let axis = cx
        .input_rank(node)
        .and_then(|rank| Context::axis(op.axis, rank));
    let Some(axis) = axis else {
        return cx.pin_inputs(node, "a split of unknown rank");
    };
    if axis != map.axis {
        for &output in node.outputs.iter().flatten() {
            cx.set(output, map.axis, map.atoms.clone());
        }
        return;
    }
    if op.sizes.len() != node.outputs.len() || op.sizes.iter().sum::<usize>() != map.atoms.len() {
        return cx.pin_inputs(node, "a split whose sizes do not cover the channels");
    }
    let mut at = 0;
    let mut parts = Vec::new();
    for (&size, output) in op.sizes.iter().zip(&node.outputs) {
        let part = cx.list(&map.atoms[at..at + size]);
        at += size;
        if let Some(output) = output {
            cx.set(*output, axis, part.clone());
        }
        parts.push(part);
    }
    cx.edits.push((id, Edit::Split { parts }));
}
