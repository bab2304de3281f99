//! [Expand](https://onnx.ai/onnx/operators/onnx__Expand.html) of axes other than the channels.
//!
//! A parameter that is expanded over the batch, such as the queries of a decoder (DETR, Carion et
//! al., ECCV 2020), has channels on its last axis if a layer reads them there.

use onnx_graph::ops::{Expand, Op};
use onnx_graph::{Dim, Node, NodeId, ValueId};

use super::sizes;
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Expand) {
    let Some(map) = cx.map(node, 0) else {
        if !parameter(cx, id, node, op) {
            sizes::unfollowed(cx, node, 1);
        }
        return;
    };
    let Some(rank) = cx.input_rank(node) else {
        return cx.pin_inputs(node, "an expansion of unknown rank");
    };
    let out_rank = rank.max(op.sizes.len());
    let axis = map.axis + out_rank - rank;
    let at = (axis + op.sizes.len()).checked_sub(out_rank);
    if at.is_some_and(|at| op.sizes[at] != Dim::Known(1)) {
        sizes::unfollowed(cx, node, 1);
        return cx.pin_inputs(node, "channels that are expanded");
    }
    let listed = node.input(1).is_some();
    if listed && !sizes::states(cx, (id, node, 1), at, &map.atoms) {
        return cx.pin_inputs(node, "channels whose number is computed for an expansion");
    }
    cx.set(node.output(), axis, map.atoms);
}

/// Gives an expanded parameter channels on its last axis, and returns whether it did.
fn parameter(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Expand) -> bool {
    let Some(source) = node.input(0) else {
        return false;
    };
    let Some(&[.., channels]) = cx.graph.constant(source).map(|t| t.dims()) else {
        return false;
    };
    let (Some(rank), Some(from)) = (cx.rank(node.output()), cx.rank(source)) else {
        return false;
    };
    let kept = matches!(op.sizes.last(), None | Some(Dim::Known(1)));
    if channels < 2 || from < 2 || !kept || !is_read(cx, node.output(), rank - 1) {
        return false;
    }
    let atoms = cx.fresh(channels);
    let last = op.sizes.len().checked_sub(1);
    if node.input(1).is_some() && !sizes::states(cx, (id, node, 1), last, &atoms) {
        cx.pin(&atoms, &node.name, sizes::READ);
    }
    cx.bind(source, from - 1, &atoms);
    cx.set(node.output(), rank - 1, atoms);
    true
}

/// Whether a fully connected layer reads `axis` of a value, possibly behind a transposition.
fn is_read(cx: &Context<'_>, value: ValueId, axis: usize) -> bool {
    cx.consumers(value).iter().any(|&reader| {
        let node = cx.graph.node(reader);
        match &node.op {
            Op::MatMul(_) => {
                let weight = cx.graph.constant_input(node, 1);
                let last = cx.rank(value) == Some(axis + 1);
                last && node.input(0) == Some(value) && weight.is_some_and(|w| w.dims().len() == 2)
            }
            Op::Transpose(op) => {
                let to = op.perm.iter().position(|&from| from == axis);
                to.is_some_and(|to| is_read(cx, node.output(), to))
            }
            _ => false,
        }
    })
}
