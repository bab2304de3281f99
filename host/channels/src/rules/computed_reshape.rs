//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html) to sizes that are computed; several
//! may be open. The channels continue as in a [Reshape](super::reshape) to constant sizes;
//! their number is an entry of the list.

use onnx_graph::ops::Opaque;
use onnx_graph::{Node, NodeId};

use super::reshape::continued;
use super::sizes;
use crate::atoms::Context;

pub(super) fn is(op: &Opaque) -> bool {
    op.domain.is_empty() && op.op_type == "Reshape"
}

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node) {
    let map = cx.map(node, 0);
    let landed = map.and_then(|map| continued(cx, id, node, &map));
    let Some((axis, atoms)) = landed else {
        sizes::unfollowed(cx, node, 1);
        return cx.pin_inputs(node, "a reshape that mixes the channels with an open size");
    };
    let follows = sizes::states(cx, (id, node, 1), Some(axis), &atoms);
    if follows {
        cx.set(node.output(), axis, atoms);
    } else {
        cx.pin_inputs(node, "a reshape to a computed number of channels");
    }
}
