//! [DepthToSpace](https://onnx.ai/onnx/operators/onnx__DepthToSpace.html) and
//! [SpaceToDepth](https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html): the channels of a block
//! of positions stay or go together.

use onnx_graph::Node;
use onnx_graph::ops::{DepthToSpace, SpaceToDepth};

use crate::atoms::Context;

pub(super) fn depth_to_space(cx: &mut Context<'_>, node: &Node, op: DepthToSpace) {
    let Some(map) = cx.map(node, 0) else { return };
    let block = op.blocksize * op.blocksize;
    if map.axis != 1 || !map.atoms.len().is_multiple_of(block) {
        return cx.pin_inputs(node, "channels that are not those of whole blocks");
    }
    let count = map.atoms.len() / block;
    let part = |position: usize| -> Vec<_> {
        let at = |c: usize| match op.adjacent {
            true => map.atoms[c * block + position],
            false => map.atoms[position * count + c],
        };
        (0..count).map(at).collect()
    };
    let first = cx.list(part(0));
    for position in 1..block {
        let other = cx.list(part(position));
        cx.unite(&first, &other);
    }
    cx.set(node.output(), 1, first);
}

pub(super) fn space_to_depth(cx: &mut Context<'_>, node: &Node, op: SpaceToDepth) {
    let Some(map) = cx.map(node, 0) else { return };
    if map.axis != 1 {
        return cx.pin_inputs(node, "blocks of another axis than the positions");
    }
    let repeated = map.atoms.repeat(op.blocksize * op.blocksize);
    let atoms = cx.list(repeated);
    cx.set(node.output(), 1, atoms);
}
