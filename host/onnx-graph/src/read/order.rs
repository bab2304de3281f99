//! The order in which the nodes of a file are read.

use std::collections::HashMap;

use super::build::Reader;
use crate::GraphError;
use crate::captures::captured;
use crate::order::topological;
use crate::proto::NodeProto;

impl Reader<'_> {
    /// The order in which nodes of the file can be read: what a node reads comes first.
    pub(super) fn order(&self, nodes: &[NodeProto]) -> Result<Vec<usize>, GraphError> {
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in nodes.iter().enumerate() {
            for name in node.output.iter().filter(|n| !n.is_empty()) {
                if producer.insert(name, i).is_some() || self.scope.contains_key(name.as_str()) {
                    return Err(GraphError::TwoProducers {
                        value: name.clone(),
                    });
                }
            }
        }
        let mut needs = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut list = Vec::with_capacity(node.input.len());
            let captured = captured(node);
            list.extend(
                captured
                    .iter()
                    .filter_map(|name| producer.get(name.as_str())),
            );
            for name in node.input.iter().filter(|n| !n.is_empty()) {
                match producer.get(name.as_str()) {
                    Some(&i) => list.push(i),
                    None if self.scope.contains_key(name.as_str()) => {}
                    None if self.sequences.names(name) => {}
                    None => {
                        return Err(GraphError::NotReady {
                            node: node.label(),
                            value: name.clone(),
                        });
                    }
                }
            }
            needs.push(list);
        }
        topological(&needs).map_err(|at| GraphError::Malformed {
            place: format!("node '{}'", nodes[at].label()),
            reason: "it waits for itself".into(),
        })
    }
}
