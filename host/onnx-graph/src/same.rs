//! Comparison of graphs.

use std::borrow::Cow;
use std::collections::HashMap;

use prost::Message;

use crate::AttributeValue;
use crate::graph::{Graph, Node};
use crate::ops::{Op, Opaque};
use crate::proto::AttributeProto;
use crate::renaming::Renaming;
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
        let ending = |graph: &Self| -> Vec<(String, Vec<AttributeProto>)> {
            let nodes = graph.tail.nodes.iter();
            nodes
                .map(|node| (node.op_type.clone(), node.attribute.clone()))
                .collect()
        };
        if ending(self) != ending(other) || self.other_outputs() != other.other_outputs() {
            return Err("other texts, sequences or maps behind the outputs".into());
        }
        for (a, b) in self.nodes.iter().zip(&other.nodes) {
            let fail = |what: &str| Err(format!("node '{}' against '{}': {what}", a.name, b.name));
            if a.name != b.name {
                return fail("other names");
            }
            let (ours, theirs) = (self.settled(a), other.settled(b));
            // An attribute that is NaN equals itself only as text.
            if ours != theirs && format!("{ours:?}") != format!("{theirs:?}") {
                return fail(&format!("{ours:?} against {theirs:?}"));
            }
            let read = |graph: &Self, node: &Node| {
                let mut names = wires(graph, node.given());
                let mut captured = wires(graph, node.captured());
                captured.sort();
                names.append(&mut captured);
                names
            };
            if read(self, a) != read(other, b)
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

    /// The operator of a node, whose subgraphs read values by the names that these have now.
    fn settled<'a>(&self, node: &'a Node) -> Cow<'a, Op> {
        let Op::Opaque(op) = &node.op else {
            return Cow::Borrowed(&node.op);
        };
        let now = node.captured().iter().flatten();
        let now = now.map(|&v| self.value(v).name.clone());
        let mut captured: Vec<String> = now.clone().collect();
        captured.sort();
        let mut renaming = Renaming::new(op.captured.iter().cloned().zip(now).collect());
        let attributes = op.attributes.iter().map(|attribute| {
            let mut attribute = attribute.clone();
            if let AttributeValue::Encoded(bytes) = &mut attribute.value
                && let Ok(mut proto) = AttributeProto::decode(bytes.as_slice())
                && matches!(
                    renaming.subgraphs(std::slice::from_mut(&mut proto)),
                    Ok(true)
                )
            {
                *bytes = proto.encode_to_vec();
            }
            attribute
        });
        let attributes = attributes.collect();
        Cow::Owned(Op::Opaque(Opaque {
            attributes,
            captured,
            ..op.clone()
        }))
    }
}
