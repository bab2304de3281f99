//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html): over other axes than the channels' they stay; a sum over
//! the channels does not notice those that are zero.

use onnx_graph::Node;
use onnx_graph::ops::ReduceSum;

use super::reduce_mean::remaining;
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &ReduceSum) {
    let Some(map) = cx.map(node, 0) else { return };
    match cx.input_rank(node).and_then(|rank| op.axes(rank)) {
        Some(axes) if axes.contains(&map.axis) => {}
        Some(axes) => {
            let axis = remaining(&axes, op.keepdims, map.axis);
            cx.set(node.output(), axis, map.atoms);
        }
        None => cx.pin_inputs(node, "a sum over axes of a value of unknown rank"),
    }
}
