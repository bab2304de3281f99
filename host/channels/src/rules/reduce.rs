//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html),
//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html) and the other reductions:
//! channels pass through unless they are reduced.
//!
//! Channels of zeros do not change a sum over the channels. A mean or an extremum over them becomes
//! that of the kept ones, and the masked reference counts in the same way. ReduceLogSumExp counts
//! zeros, so it pins the channels that it reduces.

use onnx_graph::Node;

use crate::atoms::Context;

/// `axes` returns the reduced axes of a value of the given rank; `counts_zeros` says whether zeros
/// along the channels change the result.
pub(super) fn rule(
    cx: &mut Context<'_>,
    node: &Node,
    axes: impl Fn(usize) -> Option<Vec<usize>>,
    keepdims: bool,
    counts_zeros: bool,
) {
    let Some(map) = cx.map(node, 0) else { return };
    match cx.input_rank(node).and_then(axes) {
        Some(axes) if !axes.contains(&map.axis) => {
            let axis = remaining(&axes, keepdims, map.axis);
            cx.set(node.output(), axis, map.atoms);
        }
        Some(_) if !counts_zeros => {}
        Some(_) => cx.pin_inputs(
            node,
            "a reduction over the channels whose result depends on all of them",
        ),
        None => cx.pin_inputs(node, "a reduction over axes of a value of unknown rank"),
    }
}

/// The position of `axis` after the axes `reduced` are dropped or, with `keepdims`, set to size
/// 1.
pub(super) fn remaining(reduced: &[usize], keepdims: bool, axis: usize) -> usize {
    if keepdims {
        axis
    } else {
        axis - reduced.iter().filter(|&&a| a < axis).count()
    }
}
