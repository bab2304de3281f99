//! [Where](https://onnx.ai/onnx/operators/onnx__Where.html) by a constant mask that is equal for
//! all channels, as in attention: the channels of the single computed operand pass through.

use onnx_graph::Node;

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node) {
    let maps: Vec<usize> = (0..3).filter(|&i| cx.map(node, i).is_some()).collect();
    let [at] = maps[..] else {
        return cx.pin_inputs(node, "a choice between channels");
    };
    let (Some(map), Some(rank), Some(out_rank)) = (
        cx.map(node, at),
        node.input(at).and_then(|v| cx.rank(v)),
        cx.rank(node.output()),
    ) else {
        return cx.pin_inputs(node, "a choice of unknown rank");
    };
    let from_right = rank - map.axis;
    let alike = |i: usize| {
        let dims = node
            .input(i)
            .and_then(|v| cx.graph.constant(v))
            .map(onnx_graph::Tensor::dims);
        dims.is_some_and(|d| {
            d.len()
                .checked_sub(from_right)
                .is_none_or(|axis| d[axis] == 1)
        })
    };
    if at == 0 || map.atoms.len() == 1 || !(0..3).filter(|&i| i != at).all(alike) {
        return cx.pin_inputs(node, "a choice between channels");
    }
    cx.set(node.output(), out_rank - from_right, map.atoms);
}
