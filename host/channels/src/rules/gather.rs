//! [Gather](https://onnx.ai/onnx/operators/onnx__Gather.html) along an axis other than the
//! channels, such as that of the tokens.

use onnx_graph::Node;
use onnx_graph::ops::Gather;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Gather) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some(axis) = cx.input_rank(node).and_then(|rank| op.axis(rank)) else {
        return cx.pin_inputs(node, "a gathering of unknown rank");
    };
    if axis == map.axis {
        return cx.pin_inputs(node, "channels that are picked by number");
    }
    let to = if axis < map.axis {
        map.axis + op.dims.len() - 1
    } else {
        map.axis
    };
    cx.set(node.output(), to, map.atoms);
}
