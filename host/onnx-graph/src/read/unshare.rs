//! Separate parameters for layers that share them.
//!
//! Exporters merge initialisers of equal values, such as all zero biases. Unrelated layers that
//! share them would have to be pruned and trained alike.

use std::collections::{HashMap, HashSet};

use crate::graph::Graph;
use crate::ops::Op;
use crate::value::ValueId;
use crate::{DType, Tensor};

/// Elements that may be copied beyond those of the file, so that a small file cannot take much
/// memory.
const SPARE: usize = 1 << 20;

/// Gives each layer biases and normalisation parameters of its own, unless that takes too many
/// copies. Layers that also share their weight are one layer, used several times, and keep
/// sharing.
pub(super) fn unshare(graph: &mut Graph) {
    let mut taken: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut first: HashMap<ValueId, usize> = HashMap::new();
    let mut copies: Vec<(usize, usize)> = Vec::new();
    let mut reuses: Vec<(usize, usize)> = Vec::new();
    let mut left = graph.constants.values().map(Tensor::len).sum::<usize>() + SPARE;
    for index in 0..graph.nodes.len() {
        if let Some(weight) = weight(graph, index)
            && let Some(&earlier) = first.get(&weight)
        {
            reuses.push((index, earlier));
            continue;
        }
        first.extend(weight(graph, index).map(|w| (w, index)));
        for i in 0..graph.nodes[index].inputs.len() {
            let Some(id) = graph.nodes[index].input(i) else {
                continue;
            };
            let Some(list) = graph.constant(id).filter(|t| is_list(t)) else {
                continue;
            };
            if !taken.insert(id) {
                let Some(rest) = left.checked_sub(list.len()) else {
                    return;
                };
                left = rest;
                copies.push((index, i));
            }
        }
    }
    let shared: Vec<Vec<Option<ValueId>>> = graph.nodes.iter().map(|n| n.inputs.clone()).collect();
    for (index, i) in copies {
        let node = &graph.nodes[index];
        let name = format!("{}_{}", node.name, parameter(&node.op, i));
        if let Some(tensor) = graph.constant_input(node, i).cloned() {
            let own = graph.add_constant(&name, tensor);
            graph.nodes[index].inputs[i] = Some(own);
        }
    }
    for (index, earlier) in reuses {
        let pairs = shared[index].iter().zip(&shared[earlier]).enumerate();
        for (i, (own, first)) in pairs {
            if own.is_some_and(|v| graph.constant(v).is_some()) && own == first {
                graph.nodes[index].inputs[i] = graph.nodes[earlier].inputs[i];
            }
        }
    }
}

fn is_list(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::F32 && tensor.dims().len() == 1 && tensor.len() > 1
}

/// The constant weight of a layer.
fn weight(graph: &Graph, index: usize) -> Option<ValueId> {
    let node = &graph.nodes[index];
    match node.op {
        Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul(_) => {
            node.input(1).filter(|v| graph.constant(*v).is_some())
        }
        _ => None,
    }
}

fn parameter(op: &Op, input: usize) -> &'static str {
    match (op, input) {
        (
            Op::BatchNormalization(_)
            | Op::LayerNormalization(_)
            | Op::InstanceNormalization(_)
            | Op::GroupNormalization(_),
            1,
        ) => "scale",
        (Op::BatchNormalization(_), 3) => "mean",
        (Op::BatchNormalization(_), 4) => "var",
        (
            Op::BatchNormalization(_)
            | Op::LayerNormalization(_)
            | Op::InstanceNormalization(_)
            | Op::GroupNormalization(_)
            | Op::Conv(_)
            | Op::ConvTranspose(_)
            | Op::Gemm(_),
            _,
        ) => "bias",
        _ => "constant",
    }
}
