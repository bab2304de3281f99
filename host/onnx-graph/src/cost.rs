//! Costs of a network per image, as papers on pruning count them.
//!
//! MACs: multiply-accumulates of convolutions, products of matrices and recurrent layers, quantised ones included; biases, normalisation and activations are not
//! counted. Parameters: what training changes, so weights, biases, scales, slopes and per-channel constants, but not
//! the running statistics of BatchNormalization nor single numbers. A constant that several nodes share counts once, at
//! the first. An open batch counts as one image. Any other size that is not known is none: what it is needed for is not counted, and
//! the nodes are listed.

use std::collections::HashSet;

use crate::DType;
use crate::dims::Product;
use crate::graph::{Dim, Graph, Node, NodeId, ValueId};
use crate::ops::{Facts, Op};

/// Costs of a network for one image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Costs {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Trainable parameters.
    pub parameters: u64,
    /// Bytes of all nodes' outputs together.
    pub activation_bytes: u64,
    /// The costs by node, in the graph's order.
    pub nodes: Vec<NodeCost>,
    /// Nodes that multiply, or may, and how much is not known: their MACs are missing in the sums.
    pub uncounted: Vec<NodeId>,
    /// Nodes with an output whose size or element type is not known: its bytes are missing.
    pub unsized_nodes: Vec<NodeId>,
    /// Nodes that may hold parameters inside, in a subgraph or packed, which are missing.
    pub hidden: Vec<NodeId>,
    /// Nodes that read values of known sizes only and have an output of which a size is not known: what is missing behind them is
    /// missing because of them.
    pub origins: Vec<NodeId>,
}

/// Costs of one node for one image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeCost {
    /// The node.
    pub node: NodeId,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Trainable parameters that this node is the first to read.
    pub parameters: u64,
    /// Bytes of its outputs.
    pub output_bytes: u64,
}

/// A network with what counts as one image in it.
struct Counted<'a> {
    graph: &'a Graph,
    batch: Option<String>,
}

impl Counted<'_> {
    fn product(&self, dims: &[Dim]) -> Option<u64> {
        Product::of(dims)?.per_image(self.batch.as_deref())
    }

    fn shape(&self, id: ValueId) -> Option<&[Dim]> {
        self.graph.value(id).shape.as_deref()
    }

    /// Elements of a value, an open batch counting as one; `None` where a size is not known.
    fn elements(&self, id: ValueId) -> Option<u64> {
        self.product(self.shape(id)?)
    }

    fn bytes(&self, id: ValueId) -> Option<u64> {
        let size = self.graph.value(id).dtype?.size() as u64;
        Some(self.elements(id)?.saturating_mul(size))
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
            Op::Opaque(op) => self.product(&op.work(&Facts { graph, node })?),
            _ => Some(0),
        }
    }

    /// Whether the sizes of what a node reads are all known.
    fn reads_known(&self, node: &Node) -> bool {
        let mut read = node.inputs.iter().flatten();
        read.all(|&id| self.elements(id).is_some())
    }
}

/// Inputs of a node that training changes.
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
    let weight = move |at: usize, id: ValueId| match (graph.constant(id), quantised) {
        (None, _) => false,
        (Some(tensor), Some(weights)) => weights.contains(&at) && tensor.len() > 1,
        (Some(tensor), None) => {
            matches!(tensor.dtype(), DType::F32 | DType::F64) && (tensor.len() > 1 || !adds)
        }
    };
    let read = node.inputs.iter().take(last).enumerate();
    read.filter_map(move |(at, &id)| id.filter(|&id| weight(at, id)))
}

/// Counts the costs of `graph`, whose shapes are inferred.
#[must_use]
pub fn costs(graph: &Graph) -> Costs {
    // A batch of windows, `9*N`, is nine of an image.
    let batch = graph.batch_symbol().map(|name| Dim::Symbol(name.into()));
    let batch = batch.and_then(|dim| Product::of(&[dim])?.symbol().map(str::to_owned));
    let counted = Counted { graph, batch };
    let images = graph.images();
    let mut out = Costs::default();
    let mut seen = HashSet::new();
    for (id, node) in graph.iter() {
        let macs = counted.macs(node).unwrap_or_else(|| {
            out.uncounted.push(id);
            0
        });
        if matches!(&node.op, Op::Opaque(op) if op.hides_parameters()) {
            out.hidden.push(id);
        }
        let fresh = trainable(graph, node).filter(|&v| seen.insert(v));
        let parameters = fresh
            .filter_map(|v| graph.constant(v))
            .map(|t| t.len() as u64)
            .sum();
        let outputs = node.outputs.iter().flatten();
        if outputs.clone().any(|&v| counted.elements(v).is_none()) && counted.reads_known(node) {
            out.origins.push(id);
        }
        let sizes: Vec<Option<u64>> = outputs.map(|&v| counted.bytes(v)).collect();
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
