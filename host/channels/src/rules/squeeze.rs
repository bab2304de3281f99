//! [Squeeze](https://onnx.ai/onnx/operators/onnx__Squeeze.html) and
//! [Unsqueeze](https://onnx.ai/onnx/operators/onnx__Unsqueeze.html): the channel axis shifts.

use onnx_graph::ops::{Squeeze, Unsqueeze};
use onnx_graph::{Dim, Node};

use crate::atoms::Context;

pub(super) fn squeeze(cx: &mut Context<'_>, node: &Node, op: &Squeeze) {
    let Some(map) = cx.map(node, 0) else { return };
    let shape = node
        .input(0)
        .and_then(|v| cx.graph.value(v).shape.clone())
        .unwrap_or_default();
    let axes: Option<Vec<usize>> = if op.axes.is_empty() {
        Some(
            (0..shape.len())
                .filter(|&i| shape[i] == Dim::Known(1))
                .collect(),
        )
    } else {
        op.axes
            .iter()
            .map(|&a| Context::axis(a, shape.len()))
            .collect()
    };
    match axes {
        Some(axes) if !axes.contains(&map.axis) => {
            let removed = axes.iter().filter(|&&a| a < map.axis).count();
            cx.set(node.output(), map.axis - removed, map.atoms);
        }
        _ => cx.pin_inputs(node, "the channel axis is squeezed away"),
    }
}

pub(super) fn unsqueeze(cx: &mut Context<'_>, node: &Node, op: &Unsqueeze) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = cx.input_rank(node).map(|r| r + op.axes.len());
    let axes: Option<Vec<usize>> =
        rank.and_then(|r| op.axes.iter().map(|&a| Context::axis(a, r)).collect());
    let landed = rank
        .zip(axes)
        .and_then(|(rank, axes)| (0..rank).filter(|a| !axes.contains(a)).nth(map.axis));
    match landed {
        Some(axis) => cx.set(node.output(), axis, map.atoms),
        None => cx.pin_inputs(node, "a value of unknown rank"),
    }
}
