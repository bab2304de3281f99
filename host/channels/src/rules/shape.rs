//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html): a number of channels that is read at
//! run time pins them, since its use is unknown.

use onnx_graph::Node;
use onnx_graph::ops::Shape;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Shape) {
    let Some(map) = cx.map(node, 0) else { return };
    if cx
        .input_rank(node)
        .is_none_or(|rank| op.range(rank).contains(&map.axis))
    {
        cx.pin_inputs(node, "the number of channels is read at run time");
    }
}
