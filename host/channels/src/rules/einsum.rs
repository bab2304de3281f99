//! [Einsum](https://onnx.ai/onnx/operators/onnx__Einsum.html): axes with the same letter are
//! united.

use onnx_graph::Node;
use onnx_graph::ops::Einsum;

use super::contraction::{self, Labels};
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, node: &Node, op: &Einsum) {
    let word = |axes: &Vec<char>| axes.iter().map(|&c| u32::from(c)).collect();
    let labels = Labels {
        operands: op.operands.iter().map(word).collect(),
        output: word(&op.output),
    };
    contraction::rule(cx, node, &labels);
}
