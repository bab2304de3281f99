//! [BatchNormalization](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html): its four
//! parameters follow the channels.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    let whole = (1..5).all(|i| node.input(i).is_some());
    let extra_outputs = node.outputs.iter().skip(1).any(Option::is_some);
    if map.axis != 1 || !whole || extra_outputs || !cx.bind_parameters(node, 1..5, &map.atoms) {
        return cx.pin_inputs(
            node,
            "this batch normalisation is not in its inference form with constant parameters",
        );
    }
    cx.set(node.output(), 1, map.atoms);
}
