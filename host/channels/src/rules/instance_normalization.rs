//! [InstanceNormalization](https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html): each channel by itself, or each
//! group of channels where exporters write a group normalisation by it.

use onnx_graph::{Node, ValueId};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    let parameters: Vec<ValueId> = (1..3).filter_map(|i| node.input(i)).collect();
    let follow = |&p: &ValueId| {
        let constant = cx.graph.constant(p);
        constant.is_some_and(|t| t.dims() == [map.atoms.len()])
    };
    let single = parameters.iter().all(|&p| {
        let constant = cx.graph.constant(p);
        constant.is_some_and(|t| t.len() == 1)
    });
    if map.axis > 1 && single && cx.input_rank(node).is_some() {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    if map.axis != 1 || !parameters.iter().all(follow) {
        let reason = "a normalisation over the channels, or with computed parameters";
        return cx.pin_inputs(node, reason);
    }
    for p in parameters {
        cx.bind(p, 0, &map.atoms);
    }
    cx.set(node.output(), 1, map.atoms);
}
