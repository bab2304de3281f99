//! Parts of a network that can change their precision with one conversion at each end.

use std::collections::BTreeSet;

use super::Scheme;
use super::role::{Role, role};
use crate::graph::Graph;
use crate::value::NodeId;

/// Returns at most `most` contiguous parts of a network, in its order, with about as many layers
/// each. Between two parts there is a single activation, so that a part in another precision pays
/// for one conversion at each end.
#[must_use]
pub fn regions(graph: &Graph, most: usize) -> Vec<BTreeSet<NodeId>> {
    let scheme = Scheme::default();
    let is_layer = |id: NodeId| role(graph, graph.node(id), &scheme) == Some(Role::Layer);
    let layers = graph.iter().filter(|(id, _)| is_layer(*id)).count();
    let share = layers.div_ceil(most.max(1)).max(1);
    let waists = waists(graph);
    let mut parts = Vec::new();
    let mut part = BTreeSet::new();
    let mut held = 0;
    for (id, _) in graph.iter() {
        part.insert(id);
        held += usize::from(is_layer(id));
        if held >= share && waists[id.index()] {
            parts.push(std::mem::take(&mut part));
            held = 0;
        }
    }
    if held > 0 {
        parts.push(part);
    } else if let Some(last) = parts.last_mut() {
        last.extend(part);
    }
    parts
}

/// Per node, whether a single activation is read behind it.
fn waists(graph: &Graph) -> Vec<bool> {
    let mut last_read = vec![0; graph.values().len()];
    for (id, node) in graph.iter() {
        for value in node.inputs.iter().flatten() {
            last_read[value.index()] = id.index() + 1;
        }
    }
    let mut alive: BTreeSet<usize> = graph.inputs().iter().map(|v| v.index()).collect();
    let mut waists = Vec::with_capacity(graph.nodes().len());
    for (id, node) in graph.iter() {
        alive.extend(node.outputs.iter().flatten().map(|v| v.index()));
        alive.retain(|&value| last_read[value] > id.index() + 1);
        waists.push(alive.len() == 1);
    }
    waists
}
