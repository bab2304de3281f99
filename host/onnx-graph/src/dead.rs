//! Dead code: nodes, constants and values that no output depends on.

use crate::graph::Graph;
use crate::names::Names;
use crate::value::{NodeId, ValueId};

/// The nodes and values that the outputs of a graph depend on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Per node, by [`NodeId::index`].
    pub nodes: Vec<bool>,
    /// Per value, by [`ValueId::index`].
    pub values: Vec<bool>,
}

impl Graph {
    /// Returns what the outputs depend on if each node reads only those of its inputs, by
    /// position, for which `reads` returns true.
    #[must_use]
    pub fn live(&self, reads: impl Fn(NodeId, usize) -> bool) -> Live {
        let mut values = vec![false; self.values.len()];
        for id in &self.outputs {
            values[id.index()] = true;
        }
        let mut nodes = vec![false; self.nodes.len()];
        for (id, node) in self.iter().rev() {
            if !node.outputs.iter().flatten().any(|v| values[v.index()]) {
                continue;
            }
            nodes[id.index()] = true;
            for (i, input) in node.inputs.iter().enumerate() {
                if let Some(v) = input.filter(|_| reads(id, i)) {
                    values[v.index()] = true;
                }
            }
        }
        Live { nodes, values }
    }

    /// Returns the network with other outputs. What only the old ones depend on stays, so that ids
    /// hold.
    #[must_use]
    pub fn with_outputs(mut self, outputs: Vec<ValueId>) -> Self {
        self.outputs = outputs;
        self
    }

    /// Drops nodes and constants that no graph output depends on. Value ids stay valid; node ids
    /// do not.
    pub fn remove_dead(&mut self) {
        let live = self.live(|_, _| true);
        let mut kept = live.nodes.into_iter();
        self.nodes.retain(|_| kept.next().unwrap_or(true));
        self.constants.retain(|id, _| live.values[id.index()]);
        self.rename_nodes();
    }

    pub(crate) fn rename_nodes(&mut self) {
        self.node_names = Names::default();
        for node in &self.nodes {
            self.node_names.take(&node.name, 0);
        }
    }

    /// Drops unused values, which renumbers the others.
    pub(crate) fn compact(&mut self) {
        let mut used = vec![false; self.values.len()];
        let nodes = self
            .nodes
            .iter()
            .flat_map(|n| n.inputs.iter().chain(&n.outputs))
            .flatten();
        for id in nodes
            .chain(&self.inputs)
            .chain(&self.outputs)
            .chain(self.constants.keys())
        {
            used[id.index()] = true;
        }
        let mut map = vec![ValueId(0); used.len()];
        let mut next = 0;
        for (slot, &used) in map.iter_mut().zip(&used) {
            *slot = ValueId(next);
            next += u32::from(used);
        }
        let mut it = used.iter();
        self.values.retain(|_| it.next().copied().unwrap_or(true));
        for node in &mut self.nodes {
            for id in node.inputs.iter_mut().chain(&mut node.outputs).flatten() {
                *id = map[id.index()];
            }
        }
        for id in self.inputs.iter_mut().chain(&mut self.outputs) {
            *id = map[id.index()];
        }
        let constants = std::mem::take(&mut self.constants);
        self.constants = constants
            .into_iter()
            .map(|(id, t)| (map[id.index()], t))
            .collect();
        self.value_names = Names::default();
        for (i, value) in self.values.iter().enumerate() {
            self.value_names.take(&value.name, i as u32);
        }
    }
}
