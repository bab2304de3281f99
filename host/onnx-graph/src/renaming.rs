//! New names for values, also where subgraphs read them.

use std::collections::{HashMap, HashSet};

use prost::Message;

use crate::GraphError;
use crate::captures::{DEPTH, defined};
use crate::proto::{AttributeProto, GraphProto, NodeProto};

/// New names by old ones.
pub(crate) struct Renaming {
    names: HashMap<String, String>,
    targets: HashSet<String>,
    /// Names that the subgraphs around the present place define themselves, outermost first.
    hidden: Vec<HashSet<String>>,
}

impl Renaming {
    pub fn new(mut names: HashMap<String, String>) -> Self {
        names.retain(|old, new| old != new);
        Self {
            targets: names.values().cloned().collect(),
            names,
            hidden: Vec::new(),
        }
    }

    /// The name that `name` has from now on.
    pub fn of<'n>(&'n self, name: &'n str) -> &'n str {
        self.new_name(name).map_or(name, String::as_str)
    }

    fn new_name(&self, name: &str) -> Option<&String> {
        let new = self.names.get(name)?;
        (!self.hidden.iter().any(|own| own.contains(name))).then_some(new)
    }

    fn replace(&self, name: &mut String) -> bool {
        let new = self.new_name(name).cloned();
        new.map(|new| *name = new).is_some()
    }

    /// Renames what a node reads and produces, and what its subgraphs read; returns whether it
    /// changed.
    ///
    /// # Errors
    /// [`GraphError::TwoProducers`] if a subgraph defines one of the new names itself.
    pub fn node(&mut self, node: &mut NodeProto) -> Result<bool, GraphError> {
        let mut changed = false;
        for name in node.input.iter_mut().chain(&mut node.output) {
            changed |= self.replace(name);
        }
        if self.names.is_empty() || self.hidden.len() == DEPTH {
            return Ok(changed);
        }
        Ok(self.subgraphs(&mut node.attribute)? || changed)
    }

    /// Renames what the subgraphs of a node read; returns whether one changed.
    ///
    /// # Errors
    /// As [`Renaming::node`].
    pub fn subgraphs(&mut self, attributes: &mut [AttributeProto]) -> Result<bool, GraphError> {
        let mut changed = false;
        for attribute in attributes {
            for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                changed |= self.subgraph(graph)?;
            }
        }
        Ok(changed)
    }

    /// Subgraphs without the names stay as they are, byte for byte.
    fn subgraph(&mut self, bytes: &mut Vec<u8>) -> Result<bool, GraphError> {
        // A subgraph that cannot be decoded is reported where its node is read.
        let Ok(mut graph) = GraphProto::decode(bytes.as_slice()) else {
            return Ok(false);
        };
        let own: HashSet<String> = defined(&graph).cloned().collect();
        let clash = own.iter().filter(|name| self.targets.contains(*name)).min();
        if let Some(name) = clash {
            return Err(GraphError::TwoProducers {
                value: name.clone(),
            });
        }
        self.hidden.push(own);
        let mut changed = false;
        for node in &mut graph.node {
            changed |= self.node(node)?;
        }
        for output in &mut graph.output {
            changed |= self.replace(&mut output.name);
        }
        self.hidden.pop();
        if changed {
            *bytes = graph.encode_to_vec();
        }
        Ok(changed)
    }
}
