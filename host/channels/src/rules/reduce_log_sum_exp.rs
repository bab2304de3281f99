//! [ReduceLogSumExp](https://onnx.ai/onnx/operators/onnx__ReduceLogSumExp.html): channels pass
//! through unless they are reduced. A channel of zeros changes the result.

use onnx_graph::Node;

use super::reduce_mean::remaining;
use crate::atoms::Context;

/// `axes` returns the reduced axes of a value of the given rank.
pub(super) fn rule(
    cx: &mut Context<'_>,
    node: &Node,
    axes: impl Fn(usize) -> Option<Vec<usize>>,
    keepdims: bool,
) {
    let Some(map) = cx.map(node, 0) else { return };
    match cx.input_rank(node).and_then(axes) {
        Some(axes) if !axes.contains(&map.axis) => {
            let axis = remaining(&axes, keepdims, map.axis);
            cx.set(node.output(), axis, map.atoms);
        }
        _ => cx.pin_inputs(
            node,
            "a reduction over the channels whose result depends on all of them",
        ),
    }
}
