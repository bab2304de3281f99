//! Which functions are still called once calls are replaced: by nodes that stay, in their subgraphs, and in the bodies of
//! functions that are called.

use std::collections::HashSet;

use prost::Message;

use super::{Functions, Key, callee, plain, title};
use crate::GraphError;
use crate::proto::{GraphProto, NodeProto};
use crate::read::attribute::DEPTH;

/// What is called, directly or by what is called.
#[derive(Default)]
pub(super) struct Called {
    pub keys: HashSet<Key>,
    pub domains: HashSet<String>,
}

/// Follows the calls in `nodes`.
pub(super) fn called(functions: &Functions, nodes: &[NodeProto]) -> Result<Called, GraphError> {
    let mut walk = Walk {
        functions,
        called: Called::default(),
        waiting: Vec::new(),
    };
    let unsupported = |place: String| move |reason| GraphError::Unsupported { place, reason };
    walk.nodes(nodes, DEPTH)
        .map_err(unsupported("the graph".into()))?;
    while let Some(key) = walk.waiting.pop() {
        if let Some(function) = functions.find(&key) {
            walk.nodes(&function.proto.node, DEPTH)
                .map_err(unsupported(format!("function '{}'", title(&key))))?;
        }
    }
    Ok(walk.called)
}

struct Walk<'a> {
    functions: &'a Functions,
    called: Called,
    waiting: Vec<Key>,
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
                self.waiting.push(key);
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
