//! The operators of a file that are read as other ones.

use std::collections::HashSet;

use super::rewrite::Rewrite;
use super::{contrib, fused, groups, joins, qlinear};
use crate::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};

/// Numbers of the element types of floats of other widths than 32 bits.
const OTHER_FLOATS: [i64; 3] = [10, 11, 16];
/// The number of that of 32 bits.
const FLOAT: i64 = 1;

/// Replaces the nodes of a graph that are read as others; `opsets` has the operator set of each
/// node.
pub(super) fn plain_operators(graph: &mut GraphProto, opsets: &mut Vec<i64>) {
    // What replaces a node may have constants, which are floats of 32 bits.
    let others = other_floats(graph);
    let single = |node: &NodeProto| !node.input.iter().any(|input| others.contains(input));
    let joins = |node: &NodeProto| joins::is(node) && (node.op_type != "Mean" || single(node));
    Rewrite::run(graph, opsets, qlinear::is, qlinear::expand);
    Rewrite::run(graph, opsets, joins, joins::expand);
    let contrib = |node: &NodeProto| contrib::is(node) && single(node);
    Rewrite::run(graph, opsets, contrib, contrib::expand);
    let fused = |node: &NodeProto| fused::is(node) && (!fused::clips(node) || single(node));
    Rewrite::run(graph, opsets, fused, fused::expand);
    if opsets.iter().all(|set| groups::SETS.contains(set)) {
        Rewrite::run(graph, opsets, groups::is, groups::expand);
    }
}

/// The names of the values that may be floats of other widths.
fn other_floats(graph: &GraphProto) -> HashSet<String> {
    let is_other = |tensor: &TensorProto| OTHER_FLOATS.contains(&i64::from(tensor.data_type));
    let constants = graph.initializer.iter().filter(|tensor| is_other(tensor));
    let stated = |port: &&ValueInfoProto| {
        let tensor = port.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        tensor.is_some_and(|t| OTHER_FLOATS.contains(&i64::from(t.elem_type)))
    };
    let inputs = graph.input.iter().filter(stated);
    let mut others: HashSet<String> = constants
        .map(|tensor| tensor.name.clone())
        .chain(inputs.map(|port| port.name.clone()))
        .collect();
    for node in &graph.node {
        let to = node.attribute.iter().find(|a| a.name == "to");
        let other = match to.and_then(|a| a.i) {
            Some(FLOAT) => false,
            Some(to) if OTHER_FLOATS.contains(&to) => true,
            _ => {
                let mut tensors = node.attribute.iter().filter_map(|a| a.t.as_ref());
                tensors.any(is_other) || node.input.iter().any(|input| others.contains(input))
            }
        };
        if other {
            others.extend(node.output.iter().filter(|name| !name.is_empty()).cloned());
        }
    }
    others
}
