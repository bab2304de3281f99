//! [PRelu](https://onnx.ai/onnx/operators/onnx__PRelu.html): a slope a channel, or one for all.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    super::binary::rule(cx, node);
}
