//! The part of a network that runs here, where not all of it does.

use std::borrow::Cow;
use std::fmt;

use onnx_graph::{DType, Graph, Node, ValueId};

use crate::feed::Feed;
use crate::ops;

/// A node whose operator does not run here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// Its name.
    pub node: String,
    /// Its operator, as ONNX names it.
    pub op: String,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' ({})", self.node, self.op)
    }
}

/// Returns the first node that an output depends on and that does not run here; `None` if all of
/// them run.
#[must_use]
pub fn first_stop(graph: &Graph) -> Option<Stop> {
    let live = graph.live(|_, _| true).nodes;
    let mut nodes = graph.iter().filter(|(id, _)| live[id.index()]);
    let stops = |(_, node): &(_, &Node)| ops::check(graph, node).is_err();
    nodes.find(stops).map(|(_, node)| Stop {
        node: node.name.clone(),
        op: node.op.name().to_owned(),
    })
}

/// Returns the network up to the first nodes that do not run: its outputs are the values of floats
/// that those read, and the outputs that do not depend on them. Ids are those of `graph`. It has no
/// output if nothing runs before.
#[must_use]
pub fn front(graph: &Graph) -> Cow<'_, Graph> {
    if first_stop(graph).is_none() {
        return Cow::Borrowed(graph);
    }
    let live = graph.live(|_, _| true).nodes;
    let runs_at_all = Feed::new(graph).is_ok();
    let producers = graph.producers();
    let mut runs = vec![false; live.len()];
    let mut ends: Vec<ValueId> = Vec::new();
    let mut end = |id: ValueId, runs: &[bool]| {
        let is_float = graph
            .value(id)
            .dtype
            .is_none_or(|dtype| dtype == DType::F32);
        let is_computed = producers[id.index()].is_some_and(|node| runs[node.index()]);
        if is_float && is_computed && !ends.contains(&id) {
            ends.push(id);
        }
    };
    for (id, node) in graph.iter().filter(|(id, _)| live[id.index()]) {
        let computed = |value: &ValueId| {
            producers[value.index()].is_none_or(|producer| runs[producer.index()])
        };
        let fed = node.inputs.iter().flatten().all(computed);
        runs[id.index()] = runs_at_all && fed && ops::check(graph, node).is_ok();
        if !runs[id.index()] {
            node.inputs
                .iter()
                .flatten()
                .for_each(|&input| end(input, &runs));
        }
    }
    graph
        .outputs()
        .iter()
        .for_each(|&output| end(output, &runs));
    Cow::Owned(graph.clone().with_outputs(ends))
}

#[cfg(test)]
mod tests {
    use onnx_graph::ops::{Add, Opaque, Relu, Sigmoid};
    use onnx_graph::{DType, Dim};

    use super::*;

    fn odd() -> Opaque {
        Opaque {
            domain: "my.domain".into(),
            op_type: "Odd".into(),
            ..Opaque::default()
        }
    }

    fn image(graph: &mut Graph) -> ValueId {
        let shape = vec![Dim::Symbol("N".into()), Dim::Known(2)];
        graph.add_input("x", DType::F32, shape)
    }

    fn names(graph: &Graph) -> Vec<&str> {
        let outputs = graph.outputs().iter();
        outputs.map(|&id| graph.value(id).name.as_str()).collect()
    }

    #[test]
    fn the_front_ends_at_what_operators_that_do_not_run_read() {
        let mut graph = Graph::new("g", 17);
        let x = image(&mut graph);
        let a = graph.push("a", Relu.into(), &[x]).unwrap();
        let b = graph.push("b", Sigmoid.into(), &[a]).unwrap();
        let odd = graph.push("odd", odd().into(), &[a]).unwrap();
        let behind = graph.push("behind", Add.into(), &[odd, b]).unwrap();
        graph.add_output(behind);
        graph.add_output(b);
        let stop = first_stop(&graph).unwrap();
        assert_eq!(stop.to_string(), "'odd' (Odd)");
        let front = front(&graph);
        assert_eq!(names(&front), ["a_out", "b_out"]);
        assert!(crate::Program::compile(&front).is_ok());
        assert_eq!(front.nodes().len(), graph.nodes().len());
    }

    #[test]
    fn a_network_that_runs_is_its_own_front_and_one_that_stops_at_once_has_none() {
        let mut graph = Graph::new("g", 17);
        let x = image(&mut graph);
        let y = graph.push("a", Relu.into(), &[x]).unwrap();
        graph.add_output(y);
        assert_eq!(first_stop(&graph), None);
        assert!(matches!(front(&graph), Cow::Borrowed(_)));

        let mut graph = Graph::new("g", 17);
        let x = image(&mut graph);
        let y = graph.push("odd", odd().into(), &[x]).unwrap();
        graph.add_output(y);
        assert!(front(&graph).outputs().is_empty());
    }
}
