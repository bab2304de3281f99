//! Functions of every element alone, such as
//! [Relu](https://onnx.ai/onnx/operators/onnx__Relu.html): channels pass through.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    if node.outputs.iter().skip(1).any(Option::is_some) {
        return cx.pin_inputs(node, "a second output that is not followed");
    }
    cx.set(node.output(), map.axis, map.atoms);
}
