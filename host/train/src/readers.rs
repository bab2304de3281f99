//! Which nodes read a value.

use std::collections::BTreeSet;

use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};

/// Nodes that read each value; graph outputs count as one more reader.
pub(crate) struct Readers<'a> {
    pub graph: &'a Graph,
    of: Vec<Vec<NodeId>>,
    outputs: BTreeSet<ValueId>,
}

impl<'a> Readers<'a> {
    pub fn new(graph: &'a Graph) -> Self {
        let live = graph.live(|_, _| true).nodes;
        let mut of = vec![Vec::new(); graph.values().len()];
        for (id, node) in graph.iter().filter(|(id, _)| live[id.index()]) {
            for input in node.inputs.iter().flatten() {
                of[input.index()].push(id);
            }
        }
        Self {
            graph,
            of,
            outputs: graph.outputs().iter().copied().collect(),
        }
    }

    /// The nodes that read a value.
    pub fn of(&self, value: ValueId) -> &[NodeId] {
        &self.of[value.index()]
    }

    /// Whether a value is an output of the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }

    /// The only reader of a value.
    pub fn only(&self, value: ValueId) -> Option<NodeId> {
        match self.of[value.index()][..] {
            [reader] if !self.outputs.contains(&value) => Some(reader),
            _ => None,
        }
    }

    /// Whether `value` is a constant of 32-bit floats with this many dimensions and one reader.
    pub fn is_own(&self, value: ValueId, rank: Option<usize>) -> bool {
        let constant = self.graph.constant(value);
        let fits = constant.is_some_and(|of| {
            of.as_f32().is_some() && rank.is_none_or(|rank| of.dims().len() == rank)
        });
        fits && self.of[value.index()].len() == 1
    }

    /// Returns the value behind a layer, its bias and its batch normalisation.
    pub fn end(&self, layer: NodeId) -> ValueId {
        let mut value = self.graph.node(layer).output();
        while let Some(next) = self.only(value) {
            let node = self.graph.node(next);
            let mut others = node
                .inputs
                .iter()
                .flatten()
                .filter(|input| **input != value);
            let is_affine = matches!(node.op, Op::Add(_) | Op::BatchNormalization(_));
            if !is_affine || !others.all(|input| self.graph.constant(*input).is_some()) {
                break;
            }
            value = node.output();
        }
        value
    }
}
