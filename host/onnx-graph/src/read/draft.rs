//! The nodes that replace a node while a file is read.

use std::collections::HashMap;

use super::build::Reader;
use super::rewrite::Nodes;
use crate::captures::{DEPTH, reads};
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind};
use crate::{GraphError, Tensor};

/// The nodes and constants that replace a node.
pub(super) struct Draft<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// The name of the replaced node.
    label: String,
    nodes: Nodes,
    constants: Vec<(String, Tensor)>,
}

impl<'r, 'a> Draft<'r, 'a> {
    pub fn new(reader: &'r mut Reader<'a>, replaced: &NodeProto) -> Self {
        Self {
            label: replaced.label(),
            reader,
            nodes: Nodes::default(),
            constants: Vec::new(),
        }
    }

    /// A name that nothing has.
    pub fn name(&mut self, of: &str) -> String {
        let names = &mut self.reader.names;
        let name = names.unused(&format!("{}_{of}", self.label));
        names.take(&name, 0);
        name
    }

    pub fn constant(&mut self, of: &str, tensor: Tensor) -> String {
        let name = self.name(of);
        self.constants.push((name.clone(), tensor));
        name
    }

    /// Appends a node with one new output, and returns that.
    pub fn push(&mut self, op_type: &str, of: &str, input: Vec<String>) -> String {
        let output = self.name(of);
        self.nodes.push(op_type, output, input)
    }

    /// Appends the node with the outputs of the replaced one, which takes its name.
    pub fn end(&mut self, op_type: &str, input: Vec<String>, output: Vec<String>) {
        self.nodes.end(op_type, self.label.clone(), input, output);
    }

    /// Adds a number to the attributes of the last node.
    pub fn int(&mut self, name: &str, value: i64) {
        self.nodes.attributes([AttributeProto {
            name: name.into(),
            i: Some(value),
            r#type: kind::INT,
            ..AttributeProto::default()
        }]);
    }

    /// Adds a list of numbers to the attributes of the last node.
    pub fn ints(&mut self, name: &str, values: Vec<i64>) {
        self.nodes.attributes([AttributeProto {
            name: name.into(),
            ints: values,
            r#type: kind::INTS,
            ..AttributeProto::default()
        }]);
    }

    /// Reads the nodes in place of `replaced`.
    pub fn read(self, replaced: &NodeProto, opset: i64) -> Result<(), GraphError> {
        let Self {
            reader,
            nodes: Nodes(nodes),
            constants,
            ..
        } = self;
        let mut before: HashMap<&String, usize> = HashMap::new();
        for input in &replaced.input {
            *before.entry(input).or_default() += 1;
        }
        for (name, count) in reads(&nodes, DEPTH) {
            match reader.scope.get(&name) {
                Some(id) => {
                    let more = count.saturating_sub(before.get(&name).copied().unwrap_or(0));
                    *reader.uses.entry(*id).or_default() += more;
                }
                None => *reader.reads.entry(name).or_default() += count,
            }
        }
        for (name, tensor) in constants {
            reader.constant(&name, tensor)?;
        }
        for node in &nodes {
            reader.node(node, opset)?;
        }
        Ok(())
    }
}
