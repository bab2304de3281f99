//! The names that nodes read, directly or in subgraphs, such as the branches of an If.

use std::collections::{BTreeSet, HashMap, HashSet};

use prost::Message;

use crate::proto::{GraphProto, NodeProto, plain};

/// How often names are read.
pub(crate) type Reads = HashMap<String, usize>;

/// Whether a node is an If.
pub(crate) fn is_if(node: &NodeProto) -> bool {
    node.op_type == "If" && plain(&node.domain).is_empty()
}

/// The names that a graph defines itself.
pub(crate) fn defined(graph: &GraphProto) -> impl Iterator<Item = &String> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    inputs.chain(constants).chain(outputs)
}

/// Subgraphs nest at most this deep.
pub(crate) const DEPTH: usize = 16;

/// The encoded subgraphs of a node.
pub(crate) fn subgraphs(node: &NodeProto) -> impl Iterator<Item = &Vec<u8>> {
    let attributes = node.attribute.iter();
    attributes.flat_map(|a| a.g.iter().chain(&a.graphs))
}

/// The names of the graph around a node that its subgraphs read, sorted.
pub(crate) fn captured(node: &NodeProto) -> Vec<String> {
    let graphs = subgraphs(node).filter_map(|g| GraphProto::decode(g.as_slice()).ok());
    let names: BTreeSet<String> = graphs
        .flat_map(|g| captures(&g, DEPTH))
        .map(|r| r.0)
        .collect();
    names.into_iter().filter(|name| !name.is_empty()).collect()
}

/// Counts the names that nodes read, with what their subgraphs capture down to a nesting of
/// `depth`. Subgraphs that cannot be decoded are skipped: they are reported where their node is
/// read.
pub(crate) fn reads<'a>(nodes: impl IntoIterator<Item = &'a NodeProto>, depth: usize) -> Reads {
    let mut reads = Reads::new();
    for node in nodes {
        for name in &node.input {
            *reads.entry(name.clone()).or_default() += 1;
        }
        for branch in subgraphs(node).filter(|_| depth > 0) {
            let Ok(branch) = GraphProto::decode(branch.as_slice()) else {
                continue;
            };
            for (name, count) in captures(&branch, depth - 1) {
                *reads.entry(name).or_default() += count;
            }
        }
    }
    reads
}

/// Counts the names of enclosing graphs that a branch reads.
fn captures(branch: &GraphProto, depth: usize) -> Reads {
    let mut reads = reads(&branch.node, depth);
    for output in &branch.output {
        *reads.entry(output.name.clone()).or_default() += 1;
    }
    let defined: HashSet<&String> = defined(branch).collect();
    reads.retain(|name, _| !defined.contains(name));
    reads
}
