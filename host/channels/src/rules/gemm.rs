//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) as a fully connected layer: `A` is
//! data, `B` the weight.

use onnx_graph::ops::Gemm;
use onnx_graph::{Node, NodeId, Tensor};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Gemm) {
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let (Some(weight), Some(weight_id)) = (weight, node.input(1)) else {
        return cx.pin_inputs(
            node,
            "the weight of this fully connected layer is computed, not constant",
        );
    };
    let (in_axis, out_axis) = if op.trans_b { (1, 0) } else { (0, 1) };
    let outputs = weight[out_axis];
    let bias = node.input(2);
    let bias_axis = match bias.map(|b| cx.graph.constant(b).map(Tensor::dims)) {
        None => None,
        Some(None) => {
            return cx.pin_inputs(
                node,
                "the bias of this fully connected layer is computed, not constant",
            );
        }
        Some(Some(dims)) => dims
            .iter()
            .rposition(|&d| d == outputs)
            .filter(|&a| a + 1 == dims.len() && outputs > 1),
    };
    if let Some(map) = cx.map(node, 0) {
        if op.trans_a || map.axis != 1 || map.atoms.len() != weight[in_axis] {
            let reason = "the channels arrive on an axis a fully connected layer does not read";
            let own = cx.produce(id, outputs);
            cx.pin(&own, &node.name, reason);
            return cx.pin_inputs(node, reason);
        }
        cx.bind(weight_id, in_axis, &map.atoms);
    }
    let channels = cx.produce(id, outputs);
    cx.bind(weight_id, out_axis, &channels);
    if let (Some(bias), Some(axis)) = (bias, bias_axis) {
        cx.bind(bias, axis, &channels);
    }
    cx.set(node.output(), 1, channels);
}
