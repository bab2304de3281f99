//! Comparison of graphs.

use std::collections::HashMap;

use crate::graph::Graph;
use crate::value::ValueId;

impl Graph {
    /// Compares two graphs as networks, by names: inputs and outputs with their types, nodes with
    /// their operators, inputs and outputs, constants bit by bit. Ids, unused values and the
    /// operator set may differ.
    ///
    /// # Errors
    /// The first difference, in words.
    pub fn same_network(&self, other: &Self) -> Result<(), String> {
        if self.nodes.len() != other.nodes.len() {
            return Err(format!(
                "{} nodes against {}",
                self.nodes.len(),
                other.nodes.len()
            ));
        }
        type Ends = fn(&Graph) -> &[ValueId];
        for (what, ends) in [
            ("input", Graph::inputs as Ends),
            ("output", Graph::outputs as Ends),
        ] {
            let (a, b) = (ends(self), ends(other));
            if a.len() != b.len() {
                return Err(format!("{} graph {what}s against {}", a.len(), b.len()));
            }
            for (&a, &b) in a.iter().zip(b) {
                if self.value(a) != other.value(b) {
                    return Err(format!(
                        "graph {what} {:?} against {:?}",
                        self.value(a),
                        other.value(b)
                    ));
                }
            }
        }
        let wires = |graph: &Self, list: &[Option<ValueId>]| -> Vec<Option<String>> {
            let mut names: Vec<_> = list
                .iter()
                .map(|v| v.map(|v| graph.value(v).name.clone()))
                .collect();
            while names.last() == Some(&None) {
                names.pop();
            }
            names
        };
        for (a, b) in self.nodes.iter().zip(&other.nodes) {
            let fail = |what: &str| Err(format!("node '{}' against '{}': {what}", a.name, b.name));
            if a.name != b.name {
                return fail("other names");
            }
            // An attribute that is NaN equals itself only as text.
            if a.op != b.op && format!("{:?}", a.op) != format!("{:?}", b.op) {
                return fail(&format!("{:?} against {:?}", a.op, b.op));
            }
            if wires(self, &a.inputs) != wires(other, &b.inputs)
                || wires(self, &a.outputs) != wires(other, &b.outputs)
            {
                return fail("other inputs or outputs");
            }
        }
        let read = |graph: &Self| -> HashMap<String, ValueId> {
            let ids = graph
                .nodes
                .iter()
                .flat_map(|n| &n.inputs)
                .flatten()
                .chain(&graph.outputs);
            let constants = ids.filter(|id| graph.constants.contains_key(id));
            constants
                .map(|&id| (graph.value(id).name.clone(), id))
                .collect()
        };
        let (mine, theirs) = (read(self), read(other));
        if mine.len() != theirs.len() {
            return Err(format!("{} constants against {}", mine.len(), theirs.len()));
        }
        for (name, id) in &mine {
            let Some(twin) = theirs.get(name) else {
                return Err(format!("constant '{name}' is missing"));
            };
            if !self.constants[id].same_bits(&other.constants[twin]) {
                return Err(format!("constant '{name}' differs"));
            }
        }
        Ok(())
    }
}
