//! [Expand](https://onnx.ai/onnx/operators/onnx__Expand.html) of axes other than the channels.
//!
//! A parameter that is expanded over the batch, such as the queries of a decoder (DETR, Carion et
//! al., ECCV 2020), has channels on its last axis if a layer reads them there.

use onnx_graph::ops::{Expand, Op};
use onnx_graph::{Dim, Node, ValueId};

use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Expand) {
    let Some(map) = cx.map(node, 0) else {
        return parameter(cx, node, op);
    };
    let Some(rank) = cx.input_rank(node) else {
        return cx.pin_inputs(node, "an expansion of unknown rank");
    };
    let out_rank = rank.max(op.sizes.len());
    let axis = map.axis + out_rank - rank;
    let size = (axis + op.sizes.len())
        .checked_sub(out_rank)
        .map(|at| &op.sizes[at]);
    if size.is_some_and(|s| *s != Dim::Known(1)) {
        return cx.pin_inputs(node, "channels that are expanded");
    }
    cx.set(node.output(), axis, map.atoms);
}

/// Gives an expanded parameter channels on its last axis.
fn parameter(cx: &mut Context<'_>, node: &Node, op: &Expand) {
    let Some(source) = node.input(0) else { return };
    let Some(&[.., channels]) = cx.graph.constant(source).map(|t| t.dims()) else {
        return;
    };
    let (Some(rank), Some(from)) = (cx.rank(node.output()), cx.rank(source)) else {
        return;
    };
    let kept = matches!(op.sizes.last(), None | Some(Dim::Known(1)));
    if channels > 1 && from > 1 && kept && is_read(cx, node.output(), rank - 1) {
        let atoms = cx.fresh(channels);
        cx.bind(source, from - 1, &atoms);
        cx.set(node.output(), rank - 1, atoms);
    }
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
