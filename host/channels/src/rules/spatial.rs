//! [Pooling](https://onnx.ai/onnx/operators/onnx__MaxPool.html) and
//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) over the axes after the channels,
//! which pass through.

use onnx_graph::Node;

use super::unary;
use crate::atoms::Context;

/// A pooling of all positions. Channels among them are reduced, as by a
/// [reduction](super::reduce) over their axis.
pub(super) fn whole(cx: &mut Context<'_>, node: &Node) {
    if cx.map(node, 0).is_none_or(|map| map.axis < 2) {
        rule(cx, node);
    }
}

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    if cx.map(node, 0).is_some_and(|m| m.axis != 1) {
        return cx.pin_inputs(
            node,
            "the channels lie on an axis that is pooled or resized",
        );
    }
    unary::rule(cx, node);
}
