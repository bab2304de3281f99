//! The names that nodes read, directly or in the branches of an If.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::proto::{GraphProto, NodeProto, plain};

/// How often names are read.
pub(super) type Reads = HashMap<String, usize>;

/// Whether a node is an If.
pub(super) fn is_if(node: &NodeProto) -> bool {
    node.op_type == "If" && plain(&node.domain).is_empty()
}

/// The names that a graph defines itself.
pub(super) fn defined(graph: &GraphProto) -> impl Iterator<Item = &String> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let outputs = graph.node.iter().flat_map(|node| &node.output);
    inputs.chain(constants).chain(outputs)
}

/// Counts the names that nodes read, with the captures of If nodes down to a nesting of `depth`.
/// Branches that cannot be decoded are skipped: they are reported where their If is read.
pub(super) fn reads(nodes: &[NodeProto], depth: usize) -> Reads {
    let mut reads = Reads::new();
    for node in nodes {
        for name in &node.input {
            *reads.entry(name.clone()).or_default() += 1;
        }
        let branches = node.attribute.iter().filter_map(|a| a.g.as_ref());
        for branch in branches.filter(|_| depth > 0 && is_if(node)) {
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
