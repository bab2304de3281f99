//! [Softmax](https://onnx.ai/onnx/operators/onnx__Softmax.html) and LogSoftmax: over the channels
//! they mix them, so that all must stay. They pass through all the same: those of a network's
//! classes are its outputs.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, axis: i64) {
    let Some(map) = cx.map(node, 0) else { return };
    let axis = cx
        .input_rank(node)
        .and_then(|rank| Context::axis(axis, rank));
    if axis.is_none_or(|a| a == map.axis) {
        cx.pin_inputs(node, "a softmax over the channels");
    }
    cx.set(node.output(), map.axis, map.atoms);
}
