//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html): channels pass through
//! unless they are reduced. A mean over the channels becomes that of the kept ones, and the
//! masked reference counts them in the same way.

use onnx_graph::Node;
use onnx_graph::ops::ReduceMean;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &ReduceMean) {
    let Some(map) = cx.map(node, 0) else { return };
    match cx.input_rank(node).and_then(|rank| op.axes(rank)) {
        Some(axes) if axes.contains(&map.axis) => {}
        Some(axes) => {
            let axis = remaining(&axes, op.keepdims, map.axis);
            cx.set(node.output(), axis, map.atoms);
        }
        None => cx.pin_inputs(node, "a mean over axes of a value of unknown rank"),
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
