//! The channel axis of an input.

use std::collections::{BTreeSet, VecDeque};

use onnx_graph::ops::Op;
use onnx_graph::{Graph, Node, ValueId};

use crate::atoms::Ends;

/// The channel axis of `input`: of a value with three axes or more it is the one that the first
/// layer reads as such. A sequence of vectors has its channels last, one for a convolution in the
/// middle, and an image that a network of TensorFlow takes has them last.
pub(crate) fn channel_axis(graph: &Graph, ends: &Ends, input: ValueId) -> usize {
    let usual = graph.channel_axis(input);
    let rank = graph.value(input).shape.as_ref().map(Vec::len);
    match rank {
        Some(rank) if rank > 2 => read(graph, ends, input, rank).unwrap_or(usual),
        _ => usual,
    }
}

/// The axis that the first layer on the way from `input` reads as channels.
fn read(graph: &Graph, ends: &Ends, input: ValueId, rank: usize) -> Option<usize> {
    let mut visited = BTreeSet::new();
    // Values, and the axis of the input that each of their axes is.
    let own: Vec<Option<usize>> = (0..rank).map(Some).collect();
    let mut next = VecDeque::from([(input, own)]);
    while let Some((value, axes)) = next.pop_front() {
        if !visited.insert(value) {
            continue;
        }
        for &reader in &ends.consumers[value.index()] {
            let node = graph.node(reader);
            if let Some(found) = layer(graph, node, value, &axes) {
                return Some(found);
            }
            next.extend(moved(graph, node, &axes).map(|axes| (node.output(), axes)));
        }
    }
    None
}

/// The axis that a layer reads as channels, if the node is one and that is not the batch.
fn layer(graph: &Graph, node: &Node, value: ValueId, axes: &[Option<usize>]) -> Option<usize> {
    if node.input(0) != Some(value) {
        return None;
    }
    let at = match &node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::BatchNormalization(_) => 1,
        Op::MatMul(_) => {
            let weight = graph.constant_input(node, 1)?;
            axes.len()
                .checked_sub(1)
                .filter(|_| weight.dims().len() == 2)?
        }
        // The letter that is summed up over a weight.
        Op::Einsum(op) => {
            graph.constant_input(node, 1)?;
            let [own, weight] = op.operands.as_slice() else {
                return None;
            };
            let summed = |letter: &char| weight.contains(letter) && !op.output.contains(letter);
            own.iter().position(summed)?
        }
        Op::Opaque(op) if matches!(op.op_type.as_str(), "GRU" | "LSTM" | "RNN") => 2,
        _ => return None,
    };
    // A network that adds the batch itself takes one image, with the channels first.
    let alone = !axes.contains(&Some(0)) || axes.first() == Some(&None);
    (*axes.get(at)?).filter(|&axis| axis > 0 || alone)
}

/// The axes of a node's output, if it only moves them or acts on single elements.
fn moved(graph: &Graph, node: &Node, axes: &[Option<usize>]) -> Option<Vec<Option<usize>>> {
    let rank = graph.value(node.output()).shape.as_ref()?.len();
    match &node.op {
        Op::Transpose(op) => op
            .perm
            .iter()
            .map(|&from| axes.get(from).copied())
            .collect(),
        Op::Unsqueeze(op) => {
            let added = op.axes(rank)?;
            let mut rest = axes.iter().copied();
            let axis = |i| match added.contains(&i) {
                true => Some(None),
                false => rest.next(),
            };
            (0..rank).map(axis).collect()
        }
        Op::Squeeze(op) => {
            let gone = op.axes(axes.len())?;
            let kept = axes.iter().enumerate().filter(|(i, _)| !gone.contains(i));
            Some(kept.map(|(_, axis)| *axis).collect())
        }
        Op::Identity(_)
        | Op::Pad(_)
        | Op::Add(_)
        | Op::Sub(_)
        | Op::Mul(_)
        | Op::Div(_)
        | Op::Clip(_)
        | Op::LayerNormalization(_)
        | Op::Dropout(_) => (rank == axes.len()).then(|| axes.to_vec()),
        Op::Opaque(op) if op.domain.is_empty() && op.op_type == "Cast" => Some(axes.to_vec()),
        _ => None,
    }
}
