//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html): sizes are no channels, but a number
//! of channels must not be read at run time, where nobody knows what is made of it.

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
