//! First states of recurrent layers.

use std::collections::BTreeSet;

use super::zeros::{fills, zero};
use crate::graph::Graph;
use crate::ops::Op;
use crate::value::{NodeId, ValueId};

/// Omits first states of zeros, which is their default: PyTorch writes them as zeros of a computed
/// size, whose number would follow no state.
pub(super) fn omit_zeros(graph: &mut Graph) {
    let producers = graph.producers();
    let mut changed = false;
    for index in 0..graph.nodes.len() {
        let Op::Opaque(op) = &graph.nodes[index].op else {
            continue;
        };
        let recurrent = matches!(op.op_type.as_str(), "GRU" | "LSTM" | "RNN");
        if !op.domain.is_empty() || !recurrent {
            continue;
        }
        for i in 5..7 {
            let state = graph.nodes[index].input(i);
            if state.is_some_and(|state| is_zero(graph, &producers, state)) {
                graph.nodes[index].inputs[i] = None;
                changed = true;
            }
        }
        let inputs = &mut graph.nodes[index].inputs;
        while inputs.last() == Some(&None) {
            inputs.pop();
        }
    }
    if changed {
        graph.remove_dead();
    }
}

/// Whether a value is zeros of a computed size, or made of such: Keras joins those of both
/// directions.
fn is_zero(graph: &Graph, producers: &[Option<NodeId>], value: ValueId) -> bool {
    let mut visited = BTreeSet::new();
    let mut next = vec![value];
    while let Some(value) = next.pop() {
        if !visited.insert(value) {
            continue;
        }
        let Some(producer) = producers[value.index()] else {
            // One number for all, not a first state that is learned.
            let constant = graph.constant(value);
            if !constant.is_some_and(|t| t.len() == 1 && zero(t)) {
                return false;
            }
            continue;
        };
        let node = graph.node(producer);
        match &node.op {
            Op::Concat(_) => next.extend(node.inputs.iter().flatten()),
            Op::Slice(_)
            | Op::Split(_)
            | Op::Unsqueeze(_)
            | Op::Squeeze(_)
            | Op::Gather(_)
            | Op::Expand(_)
            | Op::Identity(_) => match node.input(0) {
                Some(from) => next.push(from),
                None => return false,
            },
            _ if fills(graph, producer) => {}
            _ => return false,
        }
    }
    true
}
