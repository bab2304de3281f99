//! Lists of sizes of their own for nodes that share them.
//!
//! Exporters merge equal nodes and constants, so that unrelated layers take their sizes from one
//! list. The numbers of channels in it would have to be pruned alike.

use std::collections::HashMap;

use crate::graph::{Graph, Node};
use crate::ops::{Concat, Op, Slice};
use crate::value::{Dim, ValueId};
use crate::{DType, Tensor};

/// A joined list of sizes: the operator, its parts, and its name.
struct List {
    op: Concat,
    parts: Vec<Option<ValueId>>,
    name: String,
}

/// The joined lists, by value.
type Lists = HashMap<ValueId, List>;

/// Gives each Reshape, Expand and Resize to a joined list of sizes a list, and constants in it,
/// that nothing else reads. An Expand that keeps sizes of its input has no list of these: ones in
/// their places say the same.
pub(super) fn own_sizes(graph: &mut Graph) {
    let mut lists = Lists::new();
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
        if let Some(own) = expanded(graph, &lists, &node) {
            node.inputs[1] = Some(own);
        } else if let Some((of, at)) = listed(&node)
            && let Some(list) = lists.get(&at)
        {
            let counts = |part: &ValueId| graph.constant(*part).is_some_and(is_count);
            let counted: Vec<bool> = list
                .parts
                .iter()
                .map(|part| part.as_ref().is_some_and(counts))
                .collect();
            let parts = list.parts.iter().flatten();
            let any = counted.contains(&true);
            let several = |part: &ValueId| graph.constant(*part).is_some_and(|t| t.len() > 1);
            let own = |part: &ValueId| counts(part) && (several(part) || shared(part));
            if any && (shared(&at) || parts.clone().any(own)) {
                let own = own_list(graph, (at, list), &counted);
                node.inputs[of] = Some(own);
            }
        }
        graph.nodes.push(node);
    }
}

/// The input with a computed list of sizes, by number and value.
fn listed(node: &Node) -> Option<(usize, ValueId)> {
    let of = match &node.op {
        Op::Expand(_) => 1,
        Op::Opaque(op) if matches!(op.op_type.as_str(), "Expand" | "Reshape" | "Resize") => {
            op.sizes_input()?
        }
        _ => return None,
    };
    Some((of, node.input(of)?))
}

/// Appends the list of sizes of an Expand with ones for the sizes that its input has, and returns
/// it; `None` for other nodes, and where the input has no such size that may be a number of
/// channels.
fn expanded(graph: &mut Graph, lists: &Lists, node: &Node) -> Option<ValueId> {
    let (Op::Expand(op), Some(list)) = (&node.op, node.input(1)) else {
        return None;
    };
    let shape = graph.value(node.input(0)?).shape.clone()?;
    let kept = |at: usize| {
        let axis = (at + shape.len()).checked_sub(op.sizes.len());
        let size = axis.and_then(|axis| shape.get(axis));
        let counts = size.and_then(Dim::known).is_some_and(|n| n > 1);
        op.sizes[at] == Dim::Known(1) && counts
    };
    let one = |at: usize| lists.get(&list).is_some_and(|list| is_one(graph, list, at));
    if !(0..op.sizes.len()).any(|at| kept(at) && !one(at)) {
        return None;
    }
    let mut parts = Vec::with_capacity(op.sizes.len());
    for (at, size) in op.sizes.iter().enumerate() {
        let name = format!("{}_size{at}", node.name);
        parts.push(match size {
            Dim::Known(n) => graph.add_constant(&name, Tensor::i64s(vec![i64::try_from(*n).ok()?])),
            Dim::Symbol(_) => {
                let at = i64::try_from(at).ok()?;
                let slice = Slice {
                    starts: vec![at],
                    ends: vec![at + 1],
                    axes: vec![0],
                    steps: vec![1],
                };
                graph.push(&name, slice.into(), &[list]).ok()?
            }
        });
    }
    let join = Concat { axis: 0 };
    graph
        .push(&format!("{}_sizes", node.name), join.into(), &parts)
        .ok()
}

/// Whether entry `at` of a list is a constant one.
fn is_one(graph: &Graph, list: &List, at: usize) -> bool {
    let mut start = 0;
    for &part in list.parts.iter().flatten() {
        let constant = graph.constant(part).and_then(Tensor::to_i64s);
        let length = match graph.value(part).shape.as_deref() {
            Some([Dim::Known(length)]) => *length,
            _ => return false,
        };
        if at < start + length {
            return constant.is_some_and(|numbers| numbers.get(at - start) == Some(&1));
        }
        start += length;
    }
    false
}

/// Whether a constant may have a number of channels in a list of sizes.
fn is_count(tensor: &Tensor) -> bool {
    let number = || tensor.to_i64s();
    tensor.dtype() == DType::I64
        && tensor.dims().len() == 1
        && number().is_some_and(|numbers| numbers.iter().any(|&number| number > 1))
}

/// Appends a copy of a list, with copies of the entries of the `counted` parts, and returns it.
fn own_list(graph: &mut Graph, (at, list): (ValueId, &List), counted: &[bool]) -> ValueId {
    let mut inputs = Vec::new();
    for (&part, &counted) in list.parts.iter().zip(counted) {
        let copied = part.filter(|_| counted);
        let copied = copied.and_then(|id| Some((id, graph.constant(id)?.to_i64s()?)));
        let Some((id, numbers)) = copied else {
            inputs.push(part);
            continue;
        };
        let name = graph.value(id).name.clone();
        for number in numbers {
            inputs.push(Some(graph.add_constant(&name, Tensor::i64s(vec![number]))));
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
