//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html): the weight is `[in,
//! out, ...]`.

use onnx_graph::ops::ConvTranspose;
use onnx_graph::{Node, NodeId, Tensor};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &ConvTranspose) {
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let bias = node.input(2);
    let (Some(weight), Some(weight_id)) = (weight, node.input(1)) else {
        return cx.pin_inputs(
            node,
            "the weight of this transposed convolution is computed, not constant",
        );
    };
    if bias.is_some_and(|b| cx.graph.constant(b).is_none()) {
        return cx.pin_inputs(
            node,
            "the bias of this transposed convolution is computed, not constant",
        );
    }
    if op.group != 1 {
        return cx.pin_inputs(node, "grouped transposed convolutions are kept whole");
    }
    if let Some(map) = cx.map(node, 0) {
        if map.axis != 1 || map.atoms.len() != weight[0] {
            return cx.pin_inputs(
                node,
                "the channels arrive on an axis a convolution does not read them from",
            );
        }
        cx.bind(weight_id, 0, &map.atoms);
    }
    let channels = cx.produce(id, weight[1]);
    cx.bind(weight_id, 1, &channels);
    if let Some(bias) = bias {
        cx.bind(bias, 0, &channels);
    }
    cx.set(node.output(), 1, channels);
}
