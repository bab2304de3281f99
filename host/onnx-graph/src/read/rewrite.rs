//! Replacing nodes of a file by others before they are read.

use std::collections::HashSet;

use crate::captures::{DEPTH, reads};
use crate::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};

/// Number of 32-bit floats among ONNX's element types.
const FLOAT: i32 = 1;
/// That of 64-bit integers.
const INT64: i32 = 7;

/// New nodes, in the order of their execution.
#[derive(Default)]
pub(super) struct Nodes(pub Vec<NodeProto>);

impl Nodes {
    /// Appends a node with one output, and returns the output.
    pub fn push(&mut self, op_type: &str, output: String, input: Vec<String>) -> String {
        let name = format!("{output}_{op_type}");
        self.end(op_type, name, input, vec![output.clone()]);
        output
    }

    /// Appends a node with the given outputs.
    pub fn end(&mut self, op_type: &str, name: String, input: Vec<String>, output: Vec<String>) {
        self.0.push(NodeProto {
            input,
            output,
            name,
            op_type: op_type.into(),
            ..NodeProto::default()
        });
    }

    /// Adds attributes to the last node.
    pub fn attributes(&mut self, attributes: impl IntoIterator<Item = AttributeProto>) {
        if let Some(node) = self.0.last_mut() {
            node.attribute.extend(attributes);
        }
    }
}

/// The nodes that replace others, in the order of the file.
pub(super) struct Rewrite {
    /// The operator set of the node that is replaced.
    pub opset: i64,
    names: HashSet<String>,
    nodes: Nodes,
    constants: Vec<TensorProto>,
}

impl Rewrite {
    /// Replaces the nodes of `graph` that `is` finds by what `expand` appends for them; `opsets`
    /// has the operator set of each node.
    pub fn run(
        graph: &mut GraphProto,
        opsets: &mut Vec<i64>,
        is: impl Fn(&NodeProto) -> bool,
        expand: impl Fn(&mut Self, NodeProto),
    ) {
        if !graph.node.iter().any(&is) {
            return;
        }
        let nodes = std::mem::take(&mut graph.node);
        let read = reads(&nodes, DEPTH).into_keys();
        let made = nodes.iter().flat_map(|node| &node.output);
        let ports = graph.input.iter().chain(&graph.output);
        let ports = ports.map(|port| &port.name);
        let constants = graph.initializer.iter().map(|tensor| &tensor.name);
        let mut rewrite = Self {
            opset: 0,
            names: made
                .chain(ports)
                .chain(constants)
                .cloned()
                .chain(read)
                .collect(),
            nodes: Nodes(Vec::with_capacity(nodes.len())),
            constants: Vec::new(),
        };
        let mut new_opsets = Vec::with_capacity(nodes.len());
        for (node, &opset) in nodes.into_iter().zip(opsets.iter()) {
            if is(&node) {
                rewrite.opset = opset;
                expand(&mut rewrite, node);
            } else {
                rewrite.nodes.0.push(node);
            }
            new_opsets.resize(rewrite.nodes.0.len(), opset);
        }
        graph.node = rewrite.nodes.0;
        graph.initializer.append(&mut rewrite.constants);
        *opsets = new_opsets;
    }

    /// A name that nothing has.
    pub fn name(&mut self, base: String) -> String {
        let mut name = base.clone();
        let mut count = 0;
        while !self.names.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }

    /// Appends a node with a new output, named after `base`, and returns the output.
    pub fn push(&mut self, op_type: &str, base: String, input: Vec<String>) -> String {
        let output = self.name(base);
        self.nodes.push(op_type, output, input)
    }

    /// Appends a node with the given outputs.
    pub fn end(&mut self, op_type: &str, name: String, input: Vec<String>, output: Vec<String>) {
        self.nodes.end(op_type, name, input, output);
    }

    /// Adds attributes to the last node.
    pub fn attributes(&mut self, attributes: impl IntoIterator<Item = AttributeProto>) {
        self.nodes.attributes(attributes);
    }

    /// Adds a list of numbers.
    pub fn list(&mut self, base: String, values: Vec<i64>) -> String {
        let name = self.name(base);
        self.constants.push(TensorProto {
            name: name.clone(),
            dims: vec![values.len() as i64],
            data_type: INT64,
            int64_data: values,
            ..TensorProto::default()
        });
        name
    }

    /// Adds a float without dimensions.
    pub fn float(&mut self, base: String, value: f32) -> String {
        let name = self.name(base);
        self.constants.push(TensorProto {
            name: name.clone(),
            data_type: FLOAT,
            float_data: vec![value],
            ..TensorProto::default()
        });
        name
    }
}
