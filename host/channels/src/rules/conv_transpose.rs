//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html): the weight is `[in,
//! out / group, ...]`. Groups are treated as those of a [convolution](super::conv).

use onnx_graph::ops::ConvTranspose;
use onnx_graph::{Node, NodeId, Tensor};

use super::conv::{depthwise, unite_groups};
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
    let (inputs, each) = (weight[0], weight[1]);
    let map = cx.map(node, 0);
    if let Some(map) = &map
        && (map.axis != 1 || map.atoms.len() != inputs)
    {
        return cx.pin_inputs(
            node,
            "the channels arrive on an axis a convolution does not read them from",
        );
    }
    let outputs = each * op.group;
    let channels = if op.group == 1 {
        let channels = cx.produce(id, outputs);
        cx.bind(weight_id, 1, &channels);
        channels
    } else if inputs == op.group {
        depthwise(cx, id, node, map.clone(), outputs)
    } else {
        let channels = cx.produce(id, outputs);
        unite_groups(cx, &channels, op.group);
        if let Some(map) = &map {
            unite_groups(cx, &map.atoms, op.group);
        }
        let first = cx.list(&channels[..each]);
        cx.bind(weight_id, 1, &first);
        channels
    };
    if let Some(map) = map {
        cx.bind(weight_id, 0, &map.atoms);
    }
    if let Some(bias) = bias {
        cx.bind(bias, 0, &channels);
    }
    cx.set(node.output(), 1, channels);
}
