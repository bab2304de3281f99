//! [Einsum](https://onnx.ai/onnx/operators/onnx__Einsum.html): axes with the same letter are
//! united. A constant operand with letters of its own makes channels, as a layer does.

use onnx_graph::ops::Einsum;
use onnx_graph::{Node, NodeId, ValueId};

use super::contraction::{self, Labels};
use crate::atoms::Context;

pub(super) fn rule(cx: &mut Context<'_>, id: NodeId, node: &Node, op: &Einsum) {
    let word = |axes: &Vec<char>| axes.iter().map(|&c| u32::from(c)).collect();
    let labels = Labels {
        operands: op.operands.iter().map(word).collect(),
        output: word(&op.output),
    };
    contraction::rule(cx, node, &labels);
    if cx.maps[node.output().index()].is_some() {
        return;
    }
    if let Some(Made {
        weight,
        axis,
        to,
        channels,
    }) = made(cx, node, op)
    {
        let atoms = cx.produce(id, channels);
        cx.bind(weight, axis, &atoms);
        cx.set(node.output(), to, atoms);
    }
}

/// Channels that a constant operand makes.
struct Made {
    weight: ValueId,
    /// Their axis of the weight.
    axis: usize,
    /// Their axis of the result.
    to: usize,
    channels: usize,
}

/// The longest axis of the result that only a constant operand has, where that sums up the channels
/// of the other operand and repeats none of its axes.
fn made(cx: &Context<'_>, node: &Node, op: &Einsum) -> Option<Made> {
    let constant = |i: usize| Some((i, cx.graph.constant_input(node, i)?.dims()));
    let (i, dims) = (0..op.operands.len()).find_map(constant)?;
    let mut others = (0..op.operands.len()).filter(|&other| other != i);
    let other = others.next()?;
    let read = op.operands[other][cx.map(node, other)?.axis];
    let theirs = &op.operands[other];
    let repeats = |letter: &char| theirs.contains(letter) && op.output.contains(letter);
    if !op.operands[i].contains(&read) || op.operands[i].iter().any(repeats) {
        return None;
    }
    let own = op.operands[i].iter().enumerate();
    let own = own.filter(|(_, letter)| !theirs.contains(letter));
    let made = own.filter_map(|(axis, letter)| {
        Some(Made {
            weight: node.input(i)?,
            axis,
            to: op.output.iter().position(|l| l == letter)?,
            channels: *dims.get(axis)?,
        })
    });
    made.max_by_key(|made| made.channels)
}
