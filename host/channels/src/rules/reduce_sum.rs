//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html), ReduceL1, ReduceL2,
//! ReduceSumSquare, ReduceMax and ReduceMin: channels pass through unless they are reduced.
//! Channels of zeros do not change a sum. An extremum over the channels becomes the extremum of the
//! kept ones, and the masked reference leaves the others out.

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
        Some(axes) if axes.contains(&map.axis) => {}
        Some(axes) => {
            let axis = remaining(&axes, keepdims, map.axis);
            cx.set(node.output(), axis, map.atoms);
        }
        None => cx.pin_inputs(node, "a sum over axes of a value of unknown rank"),
    }
}
