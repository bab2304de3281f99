//! [GroupNormalization](https://onnx.ai/onnx/operators/onnx__GroupNormalization.html): a group is
//! kept or dropped as a whole, so that the statistics of the others do not change.

use onnx_graph::ops::GroupNormalization;
use onnx_graph::{Node, NodeId};

use crate::atoms::{Context, Edit};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &GroupNormalization) {
    let Some(map) = cx.map(node, 0) else { return };
    if map.axis != 1 || op.groups == 0 || !cx.bind_parameters(node, 1..3, &map.atoms) {
        let reason = "a normalisation over the channels, or with computed parameters";
        return cx.pin_inputs(node, reason);
    }
    let size = map.atoms.len() / op.groups;
    for group in map.atoms.chunks(size.max(1)) {
        for atom in &group[1..] {
            cx.unite(&group[..1], std::slice::from_ref(atom));
        }
    }
    let first = map.atoms.iter().step_by(size.max(1)).copied().collect();
    cx.edits.push((id, Edit::Groups { first }));
    cx.set(node.output(), 1, map.atoms);
}
