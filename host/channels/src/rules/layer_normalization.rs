//! [LayerNormalization](https://onnx.ai/onnx/operators/onnx__LayerNormalization.html) over the
//! channels: scale and bias follow them. The statistics of a pruned network are those of the kept
//! channels, and the masked reference counts them in the same way.

use onnx_graph::ops::LayerNormalization;
use onnx_graph::{Node, ValueId};

use crate::atoms::{Context, Map};

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &LayerNormalization) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = cx.input_rank(node);
    let Some(first) = rank.and_then(|rank| op.axis(rank)) else {
        return cx.pin_inputs(node, "a normalisation of unknown rank");
    };
    if map.axis < first {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    if !bind(cx, node, &map) {
        let reason = "a normalisation whose parameters are computed or have no size per channel";
        return cx.pin_inputs(node, reason);
    }
    cx.set(node.output(), map.axis, map.atoms);
}

/// Ties scale and bias to the channels, beside which further axes may be normalised. Returns false,
/// without effect, unless both are constants with a size per channel.
fn bind(cx: &mut Context<'_>, node: &Node, map: &Map) -> bool {
    let shape = node.input(0).map(|v| cx.graph.value(v).shape.clone());
    let Some(Some(shape)) = shape else {
        return false;
    };
    // Parameters may omit leading axes of size one.
    let axis_in = |value: ValueId| {
        let dims = cx.graph.constant(value)?.dims();
        let axis = (map.axis + dims.len()).checked_sub(shape.len())?;
        (dims.get(axis) == Some(&map.atoms.len())).then_some((value, axis))
    };
    let parameters = (1..3).filter_map(|i| node.input(i)).map(axis_in);
    let Some(parameters) = parameters.collect::<Option<Vec<_>>>() else {
        return false;
    };
    for (value, axis) in parameters {
        cx.bind(value, axis, &map.atoms);
    }
    true
}
