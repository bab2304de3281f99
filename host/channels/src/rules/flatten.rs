//! [Flatten](https://onnx.ai/onnx/operators/onnx__Flatten.html): behind the batch each channel
//! repeats for every position; elsewhere the channels continue as at a [Reshape](reshape).

use onnx_graph::ops::Flatten;
use onnx_graph::{Node, NodeId};

use super::reshape;
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Flatten) {
    let Some(map) = cx.map(node, 0) else { return };
    let shape = node
        .input(0)
        .and_then(|v| cx.graph.value(v).shape.clone())
        .unwrap_or_default();
    let positions: Option<usize> = shape.iter().skip(2).map(onnx_graph::Dim::known).product();
    match (map.axis, Context::axis(op.axis, shape.len()), positions) {
        (1, Some(1), Some(1)) => cx.set(node.output(), 1, map.atoms),
        (1, Some(1), Some(n)) => {
            let repeated = map.atoms.iter().flat_map(|&a| std::iter::repeat_n(a, n));
            let repeated = cx.list(repeated.collect::<Vec<_>>());
            cx.set(node.output(), 1, repeated);
        }
        _ => match reshape::continued(cx, id, node, &map) {
            Some((axis, atoms)) => cx.set(node.output(), axis, atoms),
            None => cx.pin_inputs(
                node,
                "a flattening that mixes the channels with an open size",
            ),
        },
    }
}
