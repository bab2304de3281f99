//! The order in which the nodes of a file are read.

use std::collections::HashMap;

use super::build::Reader;
use crate::GraphError;
use crate::order::topological;
use crate::proto::GraphProto;

impl Reader<'_> {
    /// The nodes of the file in topological order.
    pub(super) fn order(&self, proto: &GraphProto) -> Result<Vec<usize>, GraphError> {
        let mut producer: HashMap<&str, usize> = HashMap::new();
        for (i, node) in proto.node.iter().enumerate() {
            for name in node.output.iter().filter(|n| !n.is_empty()) {
                if producer.insert(name, i).is_some() || self.scope.contains_key(name.as_str()) {
                    return Err(GraphError::TwoProducers {
                        value: name.clone(),
                    });
                }
            }
        }
        let mut needs = Vec::with_capacity(proto.node.len());
        for node in &proto.node {
            let mut list = Vec::with_capacity(node.input.len());
            for name in node.input.iter().filter(|n| !n.is_empty()) {
                match producer.get(name.as_str()) {
                    Some(&i) => list.push(i),
                    None if self.scope.contains_key(name.as_str()) => {}
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
            place: format!("node '{}'", proto.node[at].label()),
            reason: "it waits for itself".into(),
        })
    }
}
