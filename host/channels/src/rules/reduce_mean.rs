//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html): over other axes than the
//! channels' they stay. A mean over the channels is, in a pruned network, that of the kept ones;
//! [`crate::silence`] counts them the same way.

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

/// Where `axis` lies once `reduced` are gone or, with `keepdims`, of size 1.
pub(super) fn remaining(reduced: &[usize], keepdims: bool, axis: usize) -> usize {
    if keepdims {
        axis
    } else {
        axis - reduced.iter().filter(|&&a| a < axis).count()
    }
}
