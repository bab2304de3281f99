//! Nodes as messages, with the constants and auxiliary nodes that their form in the operator set
//! needs.

use std::collections::HashSet;

use prost::Message;

use super::tensor::tensor;
use crate::attribute::{Attribute, AttributeValue};
use crate::graph::{Graph, Node, unread};
use crate::names::Names;
use crate::ops::{self, Emission, Extra, Op};
use crate::proto::{AttributeProto, NodeProto, attribute_type as kind};
use crate::renaming::Renaming;
use crate::value::{Dim, ValueId};
use crate::{GraphError, Stored, Tensor};

/// The operator set in which Shape gained a range of axes.
const RANGES_OF_SHAPE: i64 = 15;
/// The operator set in which the bounds of Slice became inputs.
const INPUTS_OF_SLICE: i64 = 10;

/// Collects the nodes of a file, with the constants and nodes that they need there.
pub(super) struct Writer<'a> {
    graph: &'a Graph,
    opset: i64,
    /// Values that a node reads or that are outputs.
    used: &'a HashSet<ValueId>,
    names: Names,
    node_names: Names,
    /// The nodes so far.
    pub nodes: Vec<NodeProto>,
    /// Constants that are not in the graph.
    pub extra: Vec<(String, Tensor)>,
}

impl<'a> Writer<'a> {
    pub fn new(graph: &'a Graph, opset: i64, used: &'a HashSet<ValueId>) -> Self {
        Self {
            graph,
            opset,
            used,
            names: graph.value_names.clone(),
            node_names: graph.node_names.clone(),
            nodes: Vec::with_capacity(graph.nodes.len()),
            extra: Vec::new(),
        }
    }

    fn value_name(&self, value: Option<ValueId>) -> String {
        value.map_or_else(String::new, |v| self.graph.value(v).name.clone())
    }

    fn new_value(&mut self, base: &str) -> String {
        let name = self.names.unused(base);
        self.names.take(&name, u32::MAX);
        name
    }

    fn constant(&mut self, base: &str, tensor: Tensor) -> String {
        let name = self.new_value(base);
        self.extra.push((name.clone(), tensor));
        name
    }

    /// Appends the node that computes a constant from the integers that it is stored as.
    pub fn stored(&mut self, id: ValueId, tensor: &Tensor) {
        let Some(Stored { integers, scaling }) = tensor.stored() else {
            return;
        };
        let name = self.graph.value(id).name.clone();
        let dims = scaling
            .axis
            .map_or_else(Vec::new, |_| vec![scaling.scales.len()]);
        let zero_points = integers.with_integers(&dims, &scaling.zero_points);
        let scales = Tensor::f32(dims, scaling.scales.clone()).ok();
        let node = self.new_node(&format!("{name}_dequantize"));
        let mut input = vec![self.constant(&format!("{name}_quantized"), integers.clone())];
        for (what, tensor) in [("scale", scales), ("zero_point", zero_points)] {
            input.extend(tensor.map(|t| self.constant(&format!("{name}_{what}"), t)));
        }
        let axis = scaling.axis.map(|axis| AttributeProto {
            name: "axis".into(),
            i: Some(axis as i64),
            r#type: kind::INT,
            ..AttributeProto::default()
        });
        self.nodes.push(NodeProto {
            input,
            output: vec![name],
            name: node,
            op_type: "DequantizeLinear".into(),
            attribute: axis.into_iter().collect(),
            ..NodeProto::default()
        });
    }

    /// Appends a node of the graph.
    pub fn node(&mut self, node: &Node) -> Result<(), GraphError> {
        if let Op::Shape(op) = &node.op
            && self.opset < RANGES_OF_SHAPE
            && !op.is_whole()
        {
            let all = self.new_value(&format!("{}_all", node.name));
            let name = self.new_node(&format!("{}_all", node.name));
            self.nodes.push(NodeProto {
                input: vec![self.value_name(node.input(0))],
                output: vec![all.clone()],
                name,
                op_type: "Shape".into(),
                ..NodeProto::default()
            });
            let output = node.outputs.first().copied().flatten();
            let output = self.value_name(output);
            self.range(node.name.clone(), all, *op, output);
            return Ok(());
        }
        let mut emission = Emission {
            opset: self.opset,
            dtype: node.input(0).and_then(|v| self.graph.value(v).dtype),
            attributes: Vec::new(),
            inputs: Vec::new(),
        };
        node.op.emit(&mut emission);
        let (given, read) = (node.given(), node.captured());
        let mut input: Vec<String> = given.iter().map(|&v| self.value_name(v)).collect();
        for extra in emission.inputs {
            input.push(match extra {
                None => String::new(),
                Some(Extra::Tensor(what, t)) => self.constant(&format!("{}_{what}", node.name), t),
                Some(Extra::Sizes(what, leading, rest)) => self.sizes(node, what, leading, rest),
            });
        }
        while input.last().is_some_and(String::is_empty) {
            input.pop();
        }
        let (domain, overload) = match &node.op {
            Op::Opaque(op) => (op.domain.clone(), op.overload.clone()),
            _ => Default::default(),
        };
        let attribute = emission.attributes.iter();
        let attribute = attribute.map(|a| attribute_proto(a, &node.name));
        let mut attribute: Vec<_> = attribute.collect::<Result<_, _>>()?;
        if let Op::Opaque(op) = &node.op {
            let named = op.captured.iter().cloned();
            let named = named.zip(read.iter().map(|&v| self.value_name(v)));
            Renaming::new(named.collect()).subgraphs(&mut attribute)?;
        }
        self.nodes.push(NodeProto {
            input,
            output: self.outputs(node),
            name: node.name.clone(),
            op_type: node.op.name().to_owned(),
            attribute,
            domain,
            overload,
        });
        Ok(())
    }

    /// The names of a node's outputs. A recurrent layer that was read without the states of all
    /// steps is written without them.
    fn outputs(&self, node: &Node) -> Vec<String> {
        let mut outputs: Vec<String> = node.outputs.iter().map(|&v| self.value_name(v)).collect();
        let recurrent = matches!(&node.op, Op::Opaque(op) if op.is_recurrent());
        let used = |v: &Option<ValueId>| v.is_some_and(|v| self.used.contains(&v));
        if let [Some(first), ..] = node.outputs[..]
            && recurrent
            && !self.used.contains(&first)
            && node.outputs.iter().any(used)
            && outputs[0].starts_with(&unread(&node.name))
        {
            outputs[0].clear();
        }
        outputs
    }

    /// The list of the first `leading` sizes of a node's first input, followed by `rest`: a
    /// constant if these sizes are known, or else assembled by nodes.
    fn sizes(&mut self, node: &Node, what: &str, leading: usize, rest: Vec<i64>) -> String {
        let list = format!("{}_{what}", node.name);
        let input = node.input(0);
        let shape = input.and_then(|v| self.graph.value(v).shape.as_deref());
        let known = |d: &Dim| d.known().map(|n| n as i64);
        let known = shape.and_then(|s| s.get(..leading)?.iter().map(known).collect());
        if let Some(known) = known {
            let known: Vec<i64> = known;
            return self.constant(&list, Tensor::i64s([known, rest].concat()));
        }
        let all = self.new_value(&format!("{list}_all"));
        let name = self.new_node(&format!("{list}_all"));
        self.nodes.push(NodeProto {
            input: vec![self.value_name(input)],
            output: vec![all.clone()],
            name,
            op_type: "Shape".into(),
            ..NodeProto::default()
        });
        let kept = self.new_value(&format!("{list}_kept"));
        let name = self.new_node(&format!("{list}_kept"));
        let range = ops::Shape {
            start: 0,
            end: Some(leading as i64),
        };
        self.range(name, all, range, kept.clone());
        let rest = self.constant(&format!("{list}_rest"), Tensor::i64s(rest));
        let out = self.new_value(&list);
        let name = self.new_node(&list);
        self.nodes.push(NodeProto {
            input: vec![kept, rest],
            output: vec![out.clone()],
            name,
            op_type: "Concat".into(),
            attribute: vec![AttributeProto {
                name: "axis".into(),
                i: Some(0),
                r#type: kind::INT,
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
        });
        out
    }

    /// Slices the sizes that `op` lists out of the list of all sizes, `input`.
    fn range(&mut self, name: String, input: String, op: ops::Shape, output: String) {
        let bounds = [
            ("starts", op.start),
            ("ends", op.end.unwrap_or(i64::MAX)),
            ("axes", 0),
        ];
        let mut node = NodeProto {
            input: vec![input],
            output: vec![output],
            op_type: "Slice".into(),
            ..NodeProto::default()
        };
        for (what, value) in bounds {
            if self.opset < INPUTS_OF_SLICE {
                node.attribute.push(AttributeProto {
                    name: what.into(),
                    ints: vec![value],
                    r#type: kind::INTS,
                    ..AttributeProto::default()
                });
            } else {
                let value = Tensor::i64s(vec![value]);
                let value = self.constant(&format!("{name}_{what}"), value);
                node.input.push(value);
            }
        }
        self.nodes.push(NodeProto { name, ..node });
    }

    fn new_node(&mut self, base: &str) -> String {
        let name = self.node_names.unused(base);
        self.node_names.take(&name, u32::MAX);
        name
    }
}

fn attribute_proto(attribute: &Attribute, node: &str) -> Result<AttributeProto, GraphError> {
    let mut out = AttributeProto {
        name: attribute.name.clone(),
        ..AttributeProto::default()
    };
    match &attribute.value {
        AttributeValue::Float(v) => (out.f, out.r#type) = (Some(*v), kind::FLOAT),
        AttributeValue::Int(v) => (out.i, out.r#type) = (Some(*v), kind::INT),
        AttributeValue::Text(v) => (out.s, out.r#type) = (Some(v.clone()), kind::STRING),
        AttributeValue::Floats(v) => (out.floats, out.r#type) = (v.clone(), kind::FLOATS),
        AttributeValue::Ints(v) => (out.ints, out.r#type) = (v.clone(), kind::INTS),
        AttributeValue::Texts(v) => (out.strings, out.r#type) = (v.clone(), kind::STRINGS),
        AttributeValue::Tensor(t) => (out.t, out.r#type) = (Some(tensor("", t)), kind::TENSOR),
        AttributeValue::Encoded(bytes) => {
            return AttributeProto::decode(bytes.as_slice()).map_err(|e| GraphError::Malformed {
                place: format!("attribute '{}' of node '{node}'", attribute.name),
                reason: e.to_string(),
            });
        }
    }
    Ok(out)
}
