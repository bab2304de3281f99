//! The order in which the nodes of a graph run.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use onnx_graph::{Graph, NodeId};

/// Returns the `live` nodes in an order in which each follows those that it reads. Nodes of `late`
/// follow everything that does not depend on them; the others keep the order of the graph.
pub(crate) fn deferred(graph: &Graph, live: &[bool], late: &BTreeSet<NodeId>) -> Vec<NodeId> {
    let producers = graph.producers();
    let mut readers: Vec<Vec<NodeId>> = vec![Vec::new(); live.len()];
    let mut missing = vec![0usize; live.len()];
    let mut ready = BinaryHeap::new();
    for (id, node) in graph.iter().filter(|(id, _)| live[id.index()]) {
        for producer in node.inputs.iter().flatten() {
            if let Some(producer) = producers[producer.index()] {
                readers[producer.index()].push(id);
                missing[id.index()] += 1;
            }
        }
        if missing[id.index()] == 0 {
            ready.push(Reverse((late.contains(&id), id)));
        }
    }
    let mut order = Vec::new();
    while let Some(Reverse((_, id))) = ready.pop() {
        order.push(id);
        for &reader in &readers[id.index()] {
            missing[reader.index()] -= 1;
            if missing[reader.index()] == 0 {
                ready.push(Reverse((late.contains(&reader), reader)));
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use onnx_graph::ops::{Add, Relu, Sigmoid};
    use onnx_graph::{DType, Dim};

    use super::*;

    #[test]
    fn late_nodes_follow_all_that_does_not_depend_on_them() {
        let mut graph = Graph::new("block", 17);
        let x = graph.add_input("x", DType::F32, vec![Dim::Known(1), Dim::Known(2)]);
        let branch = graph.push("branch", Relu.into(), &[x]).unwrap();
        let short_cut = graph.push("short_cut", Sigmoid.into(), &[x]).unwrap();
        let sum = graph.push("sum", Add.into(), &[branch, short_cut]).unwrap();
        graph.add_output(sum);
        let names = |late: &BTreeSet<NodeId>| -> Vec<&str> {
            let order = deferred(&graph, &[true; 3], late);
            order
                .iter()
                .map(|id| graph.node(*id).name.as_str())
                .collect()
        };
        assert_eq!(names(&BTreeSet::new()), ["branch", "short_cut", "sum"]);
        let (branch, _) = graph.iter().next().unwrap();
        assert_eq!(
            names(&BTreeSet::from([branch])),
            ["short_cut", "branch", "sum"]
        );
    }
}
