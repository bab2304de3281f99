//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html) over other axes than the channels'.

use onnx_graph::Node;
use onnx_graph::ops::ReduceMean;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &ReduceMean) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = node.input(0).and_then(|v| cx.rank(v));
    let axes: Option<Vec<usize>> =
        rank.and_then(|rank| op.axes.iter().map(|&a| Context::axis(a, rank)).collect());
    match axes {
        Some(axes) if !axes.is_empty() && !axes.contains(&map.axis) => {
            let removed = if op.keepdims {
                0
            } else {
                axes.iter().filter(|&&a| a < map.axis).count()
            };
            cx.set(node.output(), map.axis - removed, map.atoms);
        }
        _ => cx.pin_inputs(node, "a mean over the channels"),
    }
}
