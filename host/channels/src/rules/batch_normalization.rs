//! [BatchNormalization](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html): four parameters a channel.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let Some(map) = cx.map(node, 0) else { return };
    let parameters: Vec<_> = (1..5).filter_map(|i| node.input(i)).collect();
    let constant = parameters.len() == 4
        && parameters.iter().all(|&p| {
            cx.graph
                .constant(p)
                .is_some_and(|t| t.dims() == [map.atoms.len()])
        });
    let extra_outputs = node.outputs.iter().skip(1).any(Option::is_some);
    if map.axis != 1 || !constant || extra_outputs {
        return cx.pin_inputs(
            node,
            "this batch normalisation is not in its inference form with constant parameters",
        );
    }
    for p in parameters {
        cx.bind(p, 0, &map.atoms);
    }
    cx.set(node.output(), 1, map.atoms);
}
