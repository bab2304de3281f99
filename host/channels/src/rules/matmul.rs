//! [MatMul](https://onnx.ai/onnx/operators/onnx__MatMul.html) by a constant matrix, a fully
//! connected layer over the last axis. Channels on another axis pass through, as in a mixing of
//! tokens. Other products are [contractions](contraction); a constant matrix on the left is a
//! layer, too, over the channels.

use onnx_graph::{Node, NodeId, Tensor};

use super::contraction::{self, Labels};
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node) {
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let (Some(data), Some(other)) = (node.input(0), node.input(1)) else {
        return;
    };
    let (Some(rank), Some(other_rank)) = (cx.rank(data), cx.rank(other)) else {
        return cx.pin_inputs(node, "a product of unknown rank");
    };
    let (Some(&[inputs, outputs]), weight_id) = (weight, other) else {
        if rank < 2 || other_rank < 2 {
            return cx.pin_inputs(node, "a product with a vector");
        }
        contraction::rule(cx, node, &Labels::matmul(rank, other_rank));
        return rows(cx, id, node, (rank, other_rank));
    };
    if let Some(map) = cx.map(node, 0) {
        if map.axis + 1 < rank {
            return cx.set(node.output(), map.axis, map.atoms);
        }
        if map.atoms.len() != inputs {
            return cx.pin_inputs(node, "a matrix whose size does not fit the channels");
        }
        cx.bind(weight_id, 0, &map.atoms);
    }
    let channels = cx.produce(id, outputs);
    cx.bind(weight_id, 1, &channels);
    cx.set(node.output(), rank - 1, channels);
}

/// A constant matrix on the left makes a channel of each of its rows, if it sums over channels.
fn rows(cx: &mut Context<'_>, id: NodeId, node: &Node, (left, right): (usize, usize)) {
    let sums = cx.map(node, 1).is_some_and(|map| map.axis + 2 == right);
    let weight = cx.graph.constant_input(node, 0).map(Tensor::dims);
    if let (Some(&[outputs, _]), Some(weight_id)) = (weight, node.input(0))
        && sums
        && cx.maps[node.output().index()].is_none()
    {
        let channels = cx.produce(id, outputs);
        cx.bind(weight_id, 0, &channels);
        cx.set(node.output(), left.max(right) - 2, channels);
    }
}
