//! [Transpose](https://onnx.ai/onnx/operators/onnx__Transpose.html): the channel axis moves.

use onnx_graph::Node;
use onnx_graph::ops::Transpose;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Transpose) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = cx.input_rank(node).unwrap_or(0);
    let to = if op.perm.is_empty() {
        rank.checked_sub(map.axis + 1)
    } else {
        op.perm.iter().position(|&from| from == map.axis)
    };
    match to {
        Some(axis) => cx.set(node.output(), axis, map.atoms),
        None => cx.pin_inputs(node, "a transposition of unknown rank"),
    }
}
