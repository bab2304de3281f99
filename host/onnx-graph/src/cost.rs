//! Costs of a network per image, as papers on pruning count them.
//!
//! MACs: multiply-accumulates of Conv, ConvTranspose, Gemm, MatMul and Einsum; biases, normalisation and activations are not
//! counted. Parameters: what training changes, so weights, biases, scales, slopes and per-channel constants, but not
//! the running statistics of BatchNormalization nor single numbers. A constant that several nodes share counts once, at
//! the first. The batch counts as one image; so does any other size left open ([`Dim::per_image`](crate::Dim::per_image)).

use std::collections::HashSet;

use crate::DType;
use crate::graph::{Graph, Node, NodeId, ValueId};
use crate::ops::Op;

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
    /// Nodes that multiply and whose shapes are not known: their MACs are missing in the sums.
    pub uncounted: Vec<NodeId>,
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

/// Elements of a value, sizes left open counting as one.
fn elements(graph: &Graph, id: ValueId) -> Option<u64> {
    let shape = graph.value(id).shape.as_ref()?;
    Some(
        shape
            .iter()
            .fold(1u64, |n, d| n.saturating_mul(d.per_image() as u64)),
    )
}

fn bytes(dtype: Option<DType>) -> u64 {
    dtype.unwrap_or(DType::F32).size() as u64
}

fn macs(graph: &Graph, node: &Node) -> Option<u64> {
    let dims = |i: usize| graph.dims(node.input(i)?);
    let product = |d: &[usize]| d.iter().fold(1u64, |n, &d| n.saturating_mul(d as u64));
    let out = elements(graph, node.output());
    match &node.op {
        Op::Conv(_) => Some(out?.saturating_mul(product(&dims(1)?[1..]))),
        Op::ConvTranspose(_) => {
            Some(elements(graph, node.input(0)?)?.saturating_mul(product(&dims(1)?[1..])))
        }
        Op::Gemm(op) => Some(out?.saturating_mul(dims(1)?[usize::from(op.trans_b)] as u64)),
        Op::MatMul(_) => {
            let summed = |i: usize, from_end: usize| {
                let shape = graph.value(node.input(i)?).shape.as_ref()?;
                shape
                    .len()
                    .checked_sub(from_end)
                    .or(shape.len().checked_sub(1))
                    .and_then(|at| shape.get(at)?.known())
            };
            Some(out?.saturating_mul(summed(1, 2).or_else(|| summed(0, 1))? as u64))
        }
        Op::Einsum(op) => op.summed().try_fold(out?, |product, (operand, axis)| {
            let shape = graph.value(node.input(operand)?).shape.as_ref()?;
            Some(product.saturating_mul(shape.get(axis)?.known()? as u64))
        }),
        _ => Some(0),
    }
}

/// Inputs of a node that training changes.
fn trainable<'a>(graph: &'a Graph, node: &'a Node) -> impl Iterator<Item = ValueId> + 'a {
    let last = if matches!(node.op, Op::BatchNormalization(_)) {
        3
    } else {
        node.inputs.len()
    };
    node.inputs
        .iter()
        .take(last)
        .flatten()
        .copied()
        .filter(|&id| {
            graph.constant(id).is_some_and(|t| {
                matches!(t.dtype(), DType::F32 | DType::F64)
                    && (t.len() > 1
                        || !matches!(
                            node.op,
                            Op::Add(_) | Op::Sub(_) | Op::Mul(_) | Op::Div(_) | Op::Opaque(_)
                        ))
            })
        })
}

/// Counts the costs of `graph`, whose shapes are inferred.
#[must_use]
pub fn costs(graph: &Graph) -> Costs {
    let batch = graph
        .inputs()
        .first()
        .and_then(|&id| graph.value(id).shape.as_ref()?.first()?.known());
    let images = batch.unwrap_or(1).max(1) as u64;
    let mut out = Costs::default();
    let mut seen = HashSet::new();
    for (id, node) in graph.iter() {
        let macs = macs(graph, node).unwrap_or_else(|| {
            out.uncounted.push(id);
            0
        });
        let fresh = trainable(graph, node).filter(|&v| seen.insert(v));
        let parameters = fresh
            .filter_map(|v| graph.constant(v))
            .map(|t| t.len() as u64)
            .sum();
        let output_bytes: u64 = node
            .outputs
            .iter()
            .flatten()
            .map(|&v| {
                elements(graph, v)
                    .unwrap_or(0)
                    .saturating_mul(bytes(graph.value(v).dtype))
            })
            .fold(0, u64::saturating_add);
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
