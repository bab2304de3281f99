//! [Pad](https://onnx.ai/onnx/operators/onnx__Pad.html): padding the channel axis creates atoms,
//! as the option-A short-cut of He et al. 2016 does with zeros. Other axes do not matter.

use onnx_graph::ops::{Pad, PadMode};
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Pad) {
    let Some(map) = cx.map(node, 0) else { return };
    let rank = op.pads.len() / 2;
    let (before, after) = (op.pads[map.axis], op.pads[map.axis + rank]);
    if before == 0 && after == 0 {
        return cx.set(node.output(), map.axis, map.atoms);
    }
    // Dropping a padded channel equals masking it only if it is zero anyway or united with
    // others.
    if before < 0 || after < 0 || op.mode != PadMode::Constant {
        return cx.pin_inputs(node, "a padding of the channels other than by a constant");
    }
    let front = cx.fresh(before as usize);
    let back = cx.fresh(after as usize);
    let atoms = cx.list([&front, &map.atoms, &back].map(|a| &**a).concat());
    cx.edits.push((
        id,
        Edit::Pad {
            axis: map.axis,
            rank,
            before: front,
            after: back,
        },
    ));
    cx.set(node.output(), map.axis, atoms);
}
