//! [Expand](https://onnx.ai/onnx/operators/onnx__Expand.html) of axes other than the channels.

use onnx_graph::ops::Expand;
use onnx_graph::{Dim, Node};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Expand) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some(rank) = cx.input_rank(node) else {
        return cx.pin_inputs(node, "an expansion of unknown rank");
    };
    let out_rank = rank.max(op.sizes.len());
    let axis = map.axis + out_rank - rank;
    let size = (axis + op.sizes.len())
        .checked_sub(out_rank)
        .map(|at| &op.sizes[at]);
    if size.is_some_and(|s| *s != Dim::Known(1)) {
        return cx.pin_inputs(node, "channels that are expanded");
    }
    cx.set(node.output(), axis, map.atoms);
}
