//! [InstanceNormalization](https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html) of
//! each channel, or of each group of channels, a form in which exporters write group
//! normalisation.
//!
//! With a single group the channels lie within the normalised axes. The statistics of a pruned
//! network are then those of the kept channels, as in a layer normalisation.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    let single = (1..3).all(|i| {
        let constant = cx.graph.constant_input(node, i);
        constant.is_some_and(|t| t.len() == 1)
    });
    if map.axis > 1 && single && cx.input_rank(node).is_some() {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    if map.axis != 1 || !cx.bind_parameters(node, 1..3, &map.atoms) {
        let reason = "a normalisation over the channels, or with computed parameters";
        return cx.pin_inputs(node, reason);
    }
    cx.set(node.output(), 1, map.atoms);
}
