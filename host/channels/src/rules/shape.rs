//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html): the number of channels is
//! [followed](super::sizes) to its readers.

use onnx_graph::Node;
use onnx_graph::ops::Shape;

use crate::atoms::{Context, Count};

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Shape) {
    let Some(map) = cx.map(node, 0) else { return };
    let Some(rank) = cx.input_rank(node) else {
        return cx.pin_inputs(node, "the sizes of a value of unknown rank");
    };
    let range = op.range(rank);
    if range.contains(&map.axis) {
        let count = Count {
            at: map.axis - range.start,
            atoms: map.atoms,
        };
        cx.count(node.output(), vec![count]);
    }
}
