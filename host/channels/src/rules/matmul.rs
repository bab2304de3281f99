//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html) by a constant matrix: a fully connected layer over
//! the last axis. A product of two computed values is pinned.

use onnx_graph::{Node, NodeId};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node) {
    let weight = cx.graph.constant_input(node, 1).map(|w| w.dims().to_vec());
    let (Some(weight), Some(weight_id), Some(data)) = (weight, node.input(1), node.input(0)) else {
        return cx.pin_inputs(node, "a product of two computed values");
    };
    let (Some(rank), &[inputs, outputs]) = (cx.rank(data), weight.as_slice()) else {
        return cx.pin_inputs(
            node,
            "a product whose shape is not that of a fully connected layer",
        );
    };
    if let Some(map) = cx.map(node, 0) {
        if map.axis + 1 != rank || map.atoms.len() != inputs {
            return cx.pin_inputs(
                node,
                "the channels arrive on an axis this product does not read",
            );
        }
        cx.bind(weight_id, 0, &map.atoms);
    }
    let made = cx.make(id, outputs);
    cx.bind(weight_id, 1, &made);
    cx.set(node.output(), rank - 1, made);
}
