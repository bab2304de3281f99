//! The functions that are still called after inlining: by nodes, in their subgraphs, and in the
//! bodies of called functions.

use std::collections::HashSet;

use prost::Message;

use super::{Functions, Key, callee, title};
use crate::GraphError;
use crate::captures::DEPTH;
use crate::proto::{GraphProto, NodeProto, plain};

/// The called functions, and the operator domains in use.
#[derive(Default)]
pub(super) struct Called {
    pub keys: HashSet<Key>,
    pub domains: HashSet<String>,
}

impl Functions {
    /// Collects what `nodes` call, directly or through called functions.
    pub(super) fn called(&self, nodes: &[NodeProto]) -> Result<Called, GraphError> {
        let mut walk = Walk {
            functions: self,
            called: Called::default(),
            pending: Vec::new(),
        };
        let unsupported = |place: String| move |reason| GraphError::Unsupported { place, reason };
        walk.nodes(nodes, DEPTH)
            .map_err(unsupported("the graph".into()))?;
        while let Some(key) = walk.pending.pop() {
            if let Some(function) = self.find(&key) {
                walk.nodes(&function.proto.node, DEPTH)
                    .map_err(unsupported(format!("function '{}'", title(&key))))?;
            }
        }
        Ok(walk.called)
    }
}

struct Walk<'a> {
    functions: &'a Functions,
    called: Called,
    pending: Vec<Key>,
}

impl Walk<'_> {
    fn nodes(&mut self, nodes: &[NodeProto], depth: usize) -> Result<(), String> {
        for node in nodes {
            let domain = plain(&node.domain);
            if !self.called.domains.contains(domain) {
                self.called.domains.insert(domain.to_owned());
            }
            let key = callee(node);
            if self.functions.find(&key).is_some() && self.called.keys.insert(key.clone()) {
                self.pending.push(key);
            }
            for attribute in &node.attribute {
                for bytes in attribute.g.iter().chain(&attribute.graphs) {
                    if depth == 0 {
                        return Err("its subgraphs nest too deep".into());
                    }
                    let graph = GraphProto::decode(bytes.as_slice())
                        .map_err(|e| format!("its subgraph cannot be read: {e}"))?;
                    self.nodes(&graph.node, depth - 1)?;
                }
            }
        }
        Ok(())
    }
}
