//! Operators that act on every element alone
//! ([Relu](https://onnx.ai/onnx/operators/onnx__Relu.html) and its kin): channels pass through.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    if node.outputs.iter().skip(1).any(Option::is_some) {
        return cx.pin_inputs(node, "a second output that is not followed");
    }
    cx.set(node.output(), map.axis, map.atoms);
}

/// [Pooling](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and
/// [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) act on the axes after the channels.
pub(super) fn pool(cx: &mut Context<'_>, node: &Node) {
    if cx.map(node, 0).is_some_and(|m| m.axis != 1) {
        return cx.pin_inputs(
            node,
            "the channels lie on an axis that is pooled or resized",
        );
    }
    rule(cx, node);
}
