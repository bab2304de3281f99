//! Operators that [ONNX
//! Runtime](https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md) fuses and
//! that have no form of several operators of ONNX.

use onnx_graph::Node;
use onnx_graph::ops::Opaque;

use crate::atoms::Context;
use crate::rules::contraction::{self, Labels};

/// A product of matrices; one or both are transposed before.
pub(super) fn product(cx: &mut Context<'_>, node: &Node, op: &Opaque) -> Result<(), &'static str> {
    let transposes = [op.int("transA", 0) != 0, op.int("transB", 0) != 0];
    if op.int("transBatchA", 0) != 0 || op.int("transBatchB", 0) != 0 {
        return Err("a product of matrices whose rows lie on a leading axis");
    }
    let rank = |i: usize| node.input(i).and_then(|v| cx.rank(v));
    let (Some(left), Some(right)) = (rank(0), rank(1)) else {
        return Err("a product of unknown rank");
    };
    if left < 2 || right < 2 {
        return Err("a product with a vector");
    }
    let mut labels = Labels::matmul(left, right);
    for (operand, transposed) in labels.operands.iter_mut().zip(transposes) {
        let rank = operand.len();
        if transposed {
            operand.swap(rank - 2, rank - 1);
        }
    }
    contraction::rule(cx, node, &labels);
    let made = node.input(1).filter(|_| right == 2);
    let made =
        made.and_then(|v| Some((v, cx.graph.constant(v)?.dims()[usize::from(!transposes[1])])));
    let id = cx.ends.producers[node.output().index()];
    if let (Some((weight, outputs)), Some(id), None) = (made, id, &cx.maps[node.output().index()]) {
        let channels = cx.produce(id, outputs);
        cx.bind(weight, usize::from(!transposes[1]), &channels);
        cx.set(node.output(), left.max(right) - 1, channels);
    }
    Ok(())
}

/// A layer whose channels stay, for `reason`, and so do those that it reads.
pub(super) fn kept_layer(cx: &mut Context<'_>, node: &Node, reason: &'static str) {
    let outputs = cx.graph.constant_input(node, 1).map(|w| w.dims()[0]);
    let id = cx.ends.producers[node.output().index()];
    if let (Some(outputs), Some(id)) = (outputs, id) {
        let channels = cx.produce(id, outputs);
        cx.pin(&channels, &node.name, reason);
    }
    cx.pin_inputs(node, reason);
}
