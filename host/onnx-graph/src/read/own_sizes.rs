//! Lists of sizes of their own for Reshape nodes that share them.
//!
//! Exporters merge equal nodes and constants, so that unrelated layers reshape to one list. The
//! numbers of channels in it would have to be pruned alike.

use std::collections::HashMap;

use crate::ValueId;
use crate::graph::{Graph, Node};
use crate::ops::{Concat, Op};
use crate::{DType, Tensor};

/// A joined list of sizes: the operator, its parts, and its name.
struct List {
    op: Concat,
    parts: Vec<Option<ValueId>>,
    name: String,
}

/// Gives each Reshape to a joined list of sizes a list, and constants in it, that nothing else
/// reads.
pub(super) fn own_sizes(graph: &mut Graph) {
    let mut lists: HashMap<ValueId, List> = HashMap::new();
    let mut reads: HashMap<ValueId, usize> = HashMap::new();
    for node in &graph.nodes {
        for &input in node.inputs.iter().flatten() {
            *reads.entry(input).or_default() += 1;
        }
        if let (Op::Concat(op), Some(&Some(output))) = (&node.op, node.outputs.first()) {
            let list = List {
                op: *op,
                parts: node.inputs.clone(),
                name: node.name.clone(),
            };
            lists.insert(output, list);
        }
    }
    for &output in &graph.outputs {
        *reads.entry(output).or_default() += 1;
    }
    let shared = |value: &ValueId| reads.get(value).is_some_and(|&n| n > 1);
    let nodes = std::mem::take(&mut graph.nodes);
    for mut node in nodes {
        if let Some((at, list)) = reshaped(&node).and_then(|at| Some((at, lists.get(&at)?))) {
            let counts = |part: &ValueId| graph.constant(*part).is_some_and(is_count);
            let counted: Vec<bool> = list
                .parts
                .iter()
                .map(|part| part.as_ref().is_some_and(counts))
                .collect();
            let parts = list.parts.iter().flatten();
            let any = counted.contains(&true);
            if any && (shared(&at) || parts.clone().any(|p| counts(p) && shared(p))) {
                let own = own_list(graph, (at, list), &counted);
                node.inputs[1] = Some(own);
            }
        }
        graph.nodes.push(node);
    }
}

/// The list of sizes of a Reshape to computed ones.
fn reshaped(node: &Node) -> Option<ValueId> {
    match &node.op {
        Op::Opaque(op) if op.domain.is_empty() && op.op_type == "Reshape" => node.input(1),
        _ => None,
    }
}

/// Whether a constant may be a number of channels in a list of sizes.
fn is_count(tensor: &Tensor) -> bool {
    let number = || tensor.to_i64s();
    tensor.dtype() == DType::I64
        && tensor.dims() == [1]
        && number().is_some_and(|number| number[0] > 1)
}

/// Appends a copy of a list, with copies of the `counted` parts, and returns it.
fn own_list(graph: &mut Graph, (at, list): (ValueId, &List), counted: &[bool]) -> ValueId {
    let mut inputs = list.parts.clone();
    for (part, _) in inputs
        .iter_mut()
        .zip(counted)
        .filter(|(_, counted)| **counted)
    {
        let copied = part.and_then(|id| graph.constant(id).cloned());
        if let (Some(tensor), Some(id)) = (copied, *part) {
            let name = graph.value(id).name.clone();
            *part = Some(graph.add_constant(&name, tensor));
        }
    }
    let value = graph.value(at).clone();
    let output = graph.add_value(&value.name, value.dtype, value.shape);
    let name = graph.take_node_name(&list.name);
    graph.nodes.push(Node {
        name,
        op: list.op.into(),
        inputs,
        outputs: vec![Some(output)],
    });
    output
}
