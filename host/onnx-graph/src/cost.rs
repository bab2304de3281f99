//! Costs of a network per image, by the conventions of the pruning literature.
//!
//! MACs are the multiply-accumulates of convolutions, matrix products and recurrent layers,
//! quantised ones included. Biases, normalisation and activations do not count. Parameters are
//! trainable: weights, biases, scales, slopes and per-channel constants, but neither the running
//! statistics of BatchNormalization nor single numbers. A constant that several nodes share
//! counts once, at the first. An open batch counts as one image. Where another size is unknown,
//! the cost is not counted and the node is listed.

use std::collections::HashSet;

use crate::dims::Product;
use crate::graph::{Graph, Node};
use crate::ops::Op;
use crate::value::{Dim, NodeId, ValueId};

/// Costs of a network for one image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Costs {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Bytes of the outputs of all nodes.
    pub activation_bytes: u64,
    /// Costs per node, in the graph's order.
    pub nodes: Vec<NodeCost>,
    /// Nodes that multiply, or may, by an unknown amount: the sums lack their MACs.
    pub uncounted: Vec<NodeId>,
    /// Nodes with an output of unknown size or element type: the sums lack its bytes.
    pub unsized_nodes: Vec<NodeId>,
    /// Nodes that may contain parameters, in a subgraph or packed: the sums lack these.
    pub hidden: Vec<NodeId>,
    /// Nodes with an output of unknown size although all inputs have known sizes: they cause the
    /// gaps in the costs of the nodes behind them.
    pub origins: Vec<NodeId>,
}

/// Costs of one node for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// The node.
    pub node: NodeId,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Trainable parameters, if no earlier node reads them.
    pub parameters: u64,
    /// Bytes of its outputs.
    pub output_bytes: u64,
}

/// A network and the name of its batch, which counts as one image.
struct Counter<'a> {
    graph: &'a Graph,
    batch: Option<String>,
}

impl Counter<'_> {
    fn product(&self, dims: &[Dim]) -> Option<u64> {
        Product::of(dims)?.per_image(self.batch.as_deref())
    }

    fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.graph.value(id).shape.as_deref()
    }

    /// Elements of a value, with an open batch taken as 1; `None` if a size is unknown.
    fn elements(&self, id: ValueId) -> Option<u64> {
        self.product(self.shape(id)?)
    }

    fn bytes(&self, id: ValueId) -> Option<u64> {
        let bits = self.graph.value(id).dtype?.bits() as u64;
        Some(self.elements(id)?.saturating_mul(bits).div_ceil(8))
    }

    fn macs(&self, node: &Node) -> Option<u64> {
        let graph = self.graph;
        let rest = |i: usize| self.product(self.shape(node.input(i)?)?.get(1..)?);
        let out = || self.elements(node.output());
        match &node.op {
            Op::Conv(_) => Some(out()?.saturating_mul(rest(1)?)),
            Op::ConvTranspose(_) => Some(self.elements(node.input(0)?)?.saturating_mul(rest(1)?)),
            Op::Gemm(op) => {
                let summed = self.shape(node.input(1)?)?.get(usize::from(op.trans_b))?;
                Some(out()?.saturating_mul(summed.known()? as u64))
            }
            Op::MatMul(_) => {
                let summed = |i: usize, from_end: usize| {
                    let shape = self.shape(node.input(i)?)?;
                    shape
                        .len()
                        .checked_sub(from_end)
                        .or(shape.len().checked_sub(1))
                        .and_then(|at| shape.get(at)?.known())
                };
                let summed = summed(1, 2).or_else(|| summed(0, 1))?;
                Some(out()?.saturating_mul(summed as u64))
            }
            Op::Einsum(op) => op.summed().try_fold(out()?, |product, (operand, axis)| {
                let summed = self.shape(node.input(operand)?)?.get(axis)?.known()?;
                Some(product.saturating_mul(summed as u64))
            }),
            Op::Opaque(op) => self.product(&op.work(&graph.facts(node))?),
            _ => Some(0),
        }
    }

    /// Whether all inputs of a node have known sizes.
    fn reads_known(&self, node: &Node) -> bool {
        let mut inputs = node.inputs.iter().flatten();
        inputs.all(|&id| self.elements(id).is_some())
    }
}

/// Trainable inputs of a node.
fn trainable<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = ValueId> + 'a {
    let quantised = match &node.op {
        Op::Opaque(op) => op.quantised_weights(),
        _ => None,
    };
    let last = if matches!(node.op, Op::BatchNormalization(_)) {
        3
    } else {
        node.inputs.len()
    };
    let adds = matches!(
        node.op,
        Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) | Op::Opaque(_)
    );
    let weight = move |i: usize, id: ValueId| match (graph.constant(id), quantised) {
        (None, _) => false,
        (Some(tensor), Some(weights)) => weights.contains(&i) && tensor.len() > 1,
        (Some(tensor), None) => tensor.dtype().is_float() && (tensor.len() > 1 || !adds),
    };
    let inputs = node.inputs.iter().take(last).enumerate();
    inputs.filter_map(move |(i, &id)| id.filter(|&id| weight(i, id)))
}

/// Counts the costs of `graph`, whose shapes must have been inferred.
#[must_use]
pub fn costs(graph: &Graph) -> Costs {
    // A batch of windows, `9*N`, is nine of an image.
    let batch = graph.batch_symbol().map(|name| Dim::Symbol(name.into()));
    let batch = batch.and_then(|dim| Product::of(&[dim])?.symbol().map(str::to_owned));
    let counter = Counter { graph, batch };
    let images = graph.images();
    let mut out = Costs::default();
    let mut counted = HashSet::new();
    for (id, node) in graph.iter() {
        let macs = counter.macs(node).unwrap_or_else(|| {
            out.uncounted.push(id);
            0
        });
        if matches!(&node.op, Op::Opaque(op) if op.hides_parameters()) {
            out.hidden.push(id);
        }
        let fresh = trainable(graph, node).filter(|&v| counted.insert(v));
        let parameters = fresh
            .filter_map(|v| graph.constant(v))
            .map(|t| t.len() as u64)
            .sum();
        let outputs = node.outputs.iter().flatten();
        if outputs.clone().any(|&v| counter.elements(v).is_none()) && counter.reads_known(node) {
            out.origins.push(id);
        }
        let sizes: Vec<Option<u64>> = outputs.map(|&v| counter.bytes(v)).collect();
        if sizes.contains(&None) {
            out.unsized_nodes.push(id);
        }
        let output_bytes = sizes.into_iter().flatten().fold(0, u64::saturating_add);
        let cost = NodeCost {
            node: id,
            macs: macs / images,
            parameters,
            output_bytes: output_bytes / images,
        };
        out.macs = out.macs.saturating_add(cost.macs);
        out.parameters += parameters;
        out.activation_bytes = out.activation_bytes.saturating_add(cost.output_bytes);
        out.nodes.push(cost);
    }
    out
}
