//! [LayerNormalization](https://onnx.ai/onnx/operators/onnx__LayerNormalization.html) over the
//! channels: scale and bias follow them. The statistics of a pruned network are those of the kept
//! channels, and the masked reference counts them in the same way.

use onnx_graph::Node;
use onnx_graph::ops::LayerNormalization;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &LayerNormalization) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = cx.input_rank(node);
    let Some(first) = rank.and_then(|rank| op.axis(rank)) else {
        return cx.pin_inputs(node, "a normalisation of unknown rank");
    };
    if map.axis < first {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    if Some(first + 1) != rank || !cx.bind_parameters(node, 1..3, &map.atoms) {
        let reason = "a normalisation over more than the channels, or with computed parameters";
        return cx.pin_inputs(node, reason);
    }
    cx.set(node.output(), map.axis, map.atoms);
}
