//! [ReduceMax](https://onnx.ai/onnx/operators/onnx__ReduceMax.html), ReduceMin and
//! ReduceLogSumExp: channels pass through unless they are reduced. The extremum over the channels
//! becomes that of the kept ones, and the masked reference leaves the others out in the same way.

use onnx_graph::Node;

use super::reduce_mean::remaining;
use super::reduce_sum;
use crate::atoms::Context;

/// `axes` returns the reduced axes of a value of the given rank.
pub(super) fn rule(
    cx: &mut Context<'_>,
    node: &Node,
    axes: impl Fn(usize) -> Option<Vec<usize>>,
    keepdims: bool,
) {
    reduce_sum::rule(cx, node, axes, keepdims);
}

/// As [`rule`], for a reduction whose result over fewer channels has no counterpart.
pub(super) fn elsewhere(
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
