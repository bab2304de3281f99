//! [Gemm](https://onnx.ai/onnx/operators/onnx__Gemm.html) as a fully connected layer: `A` is
//! data, `B` the weight. Other products are [contractions](contraction).

use onnx_graph::ops::Gemm;
use onnx_graph::{Node, NodeId, Tensor};

use super::contraction::{self, Labels};
use crate::atoms::{Atoms, Context, Map};

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Gemm) {
    let weight = cx.graph.constant_input(node, 1).map(Tensor::dims);
    let bias = node.input(2);
    if bias.is_some_and(|bias| cx.graph.constant(bias).is_none()) {
        return cx.pin_inputs(
            node,
            "the bias of this fully connected layer is computed, not constant",
        );
    }
    let (Some(weight), Some(weight_id)) = (weight, node.input(1)) else {
        return of_values(cx, id, node, op);
    };
    let (in_axis, out_axis) = if op.trans_b { (1, 0) } else { (0, 1) };
    let outputs = weight[out_axis];
    if let Some(map) = cx.map(node, 0) {
        let columns = usize::from(!op.trans_a);
        if map.axis + columns == 1 {
            return rows(cx, node, map);
        }
        if map.axis != columns || map.atoms.len() != weight[in_axis] {
            let reason = "the channels arrive on an axis a fully connected layer does not read";
            let own = cx.produce(id, outputs);
            cx.pin(&own, &node.name, reason);
            return cx.pin_inputs(node, reason);
        }
        cx.bind(weight_id, in_axis, &map.atoms);
    }
    let channels = cx.produce(id, outputs);
    cx.bind(weight_id, out_axis, &channels);
    bind_bias(cx, node, 1, &channels);
    cx.set(node.output(), 1, channels);
}

/// Channels that are rows of the data pass through, as in a mixing of tokens.
fn rows(cx: &mut Context<'_>, node: &Node, map: Map) {
    bind_bias(cx, node, 0, &map.atoms);
    cx.set(node.output(), 0, map.atoms);
}

/// A product of two values, or of a constant and a value. A constant that sums over channels makes
/// a channel of each of its rows.
fn of_values(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Gemm) {
    let mut labels = Labels::matmul(2, 2);
    for (operand, transposed) in labels.operands.iter_mut().zip([op.trans_a, op.trans_b]) {
        if transposed {
            operand.swap(0, 1);
        }
    }
    contraction::rule(cx, node, &labels);
    let made = usize::from(op.trans_a);
    let outputs = cx.graph.constant_input(node, 0).map(|w| w.dims()[made]);
    let sums = cx
        .map(node, 1)
        .is_some_and(|map| map.axis == usize::from(op.trans_b));
    if let (Some(outputs), Some(weight), true) = (outputs, node.input(0), sums)
        && cx.maps[node.output().index()].is_none()
    {
        let rows = cx.produce(id, outputs);
        cx.bind(weight, made, &rows);
        cx.set(node.output(), 0, rows);
    }
    if let Some(map) = cx.maps[node.output().index()].clone() {
        bind_bias(cx, node, map.axis, &map.atoms);
    }
}

/// Ties the bias to the channels on `axis` of the result, if it has one for each.
fn bind_bias(cx: &mut Context<'_>, node: &Node, axis: usize, atoms: &Atoms) {
    let dims = cx.graph.constant_input(node, 2).map(Tensor::dims);
    if let (Some(bias), Some(dims)) = (node.input(2), dims)
        && let Some(own) = (axis + dims.len()).checked_sub(2)
        && dims[own] == atoms.len()
        && atoms.len() > 1
    {
        cx.bind(bias, own, atoms);
    }
}
