//! A graph to ONNX bytes.

use std::collections::{HashMap, HashSet};

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::attribute::{Attribute, AttributeValue};
use crate::graph::{Dim, Graph, Node, Shape, ValueId};
use crate::names::Names;
use crate::ops::{Emission, Op};
use crate::proto::{
    AttributeProto, Dimension, GraphProto, ModelProto, NodeProto, OperatorSetId, TensorProto,
    TensorShapeProto, TensorType, TypeProto, ValueInfoProto, attribute_type as kind,
};
use crate::{DType, GraphError, Tensor, TensorData};

/// The oldest operator set that is written.
const OLDEST: i64 = 13;
/// The oldest format version that is written: the first to allow initialisers that are no inputs is 4, and 8 is what
/// opset 17 came with.
const OLDEST_IR: i64 = 8;
/// A protobuf message ends here.
const MOST_BYTES: usize = i32::MAX as usize;

/// Writes a graph as an ONNX model. The same graph gives the same bytes. Only constants that are read are written.
/// The operator set is the graph's, or the first that has all the forms written, 13 at least.
///
/// # Errors
/// What [`Graph::check`] reports; [`GraphError::Unsupported`] when a node kept as it was read means something else in
/// the operator set written, when an output's type is not known, and when the model is over 2 GiB.
pub fn write(graph: &Graph) -> Result<Vec<u8>, GraphError> {
    graph.check()?;
    let needed = graph
        .nodes
        .iter()
        .map(|n| n.op.since())
        .max()
        .unwrap_or(OLDEST);
    let opset = graph.opset.max(needed).max(OLDEST);
    let mut names = graph.value_names.clone();
    let mut proto = GraphProto {
        name: graph.name.clone(),
        ..GraphProto::default()
    };
    let mut used: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    let mut extra = Vec::new();
    for node in &graph.nodes {
        if let Op::Opaque(op) = &node.op
            && op.domain.is_empty()
            && opset != graph.opset
            && !crate::ops::unchanged(&op.op_type, graph.opset, opset)
        {
            let reason = format!(
                "{} of operator set {} is not known to mean the same in {opset}; export the model at {OLDEST} or later",
                op.op_type, graph.opset
            );
            return Err(GraphError::Unsupported {
                place: format!("node '{}'", node.name),
                reason,
            });
        }
        used.extend(node.inputs.iter().flatten());
        proto
            .node
            .push(self::node(graph, node, opset, &mut names, &mut extra)?);
        // What no rule gives the next reader; nor does a rule that knows nothing of its inputs.
        let unknown = |v: &ValueId| graph.value(*v).shape.is_none();
        if matches!(node.op, Op::Opaque(_)) || node.inputs.iter().flatten().any(unknown) {
            let outputs = node
                .outputs
                .iter()
                .flatten()
                .filter(|v| !graph.outputs.contains(v));
            proto
                .value_info
                .extend(outputs.filter_map(|&v| value_info(graph, v)));
        }
    }
    let constants = graph.constants.iter().filter(|(id, _)| used.contains(id));
    let constants = constants.map(|(&id, t)| (graph.value(id).name.clone(), t));
    let extra = extra
        .iter()
        .map(|(name, t): &(String, Tensor)| (name.clone(), t));
    let initializers = constants
        .chain(extra)
        .map(|(name, t)| Initializer::new(&name, t))
        .collect();
    for &id in &graph.inputs {
        proto
            .input
            .push(value_info(graph, id).ok_or_else(|| untyped(graph, "input", id))?);
    }
    for &id in &graph.outputs {
        proto
            .output
            .push(value_info(graph, id).ok_or_else(|| untyped(graph, "output", id))?);
    }
    let mut opset_import = vec![OperatorSetId {
        domain: String::new(),
        version: opset,
    }];
    let other = graph.imports.iter();
    opset_import.extend(other.map(|(domain, version)| OperatorSetId {
        domain: domain.clone(),
        version: *version,
    }));
    let model = ModelProto {
        ir_version: graph.ir_version.max(OLDEST_IR),
        producer_name: "graphprune".into(),
        graph: None,
        opset_import,
        functions: graph.functions.clone(),
    };
    encode(&model, &proto, initializers).ok_or_else(|| GraphError::Unsupported {
        place: format!("graph '{}'", graph.name),
        reason: "the model is over 2 GiB, more than one ONNX file holds".to_owned(),
    })
}

/// A tensor on its way into the file: its message without the elements, which are copied once, to where they belong.
struct Initializer<'a> {
    head: Vec<u8>,
    tensor: &'a Tensor,
}

/// Numbers of the fields that are written by hand.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// Bytes of a field of `len` bytes with its key and length.
fn field_len(number: u32, len: usize) -> usize {
    key_len(number) + encoded_len_varint(len as u64) + len
}

fn open_field(number: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

impl<'a> Initializer<'a> {
    fn new(name: &str, tensor: &'a Tensor) -> Self {
        let head = TensorProto {
            dims: tensor.dims().iter().map(|&d| d as i64).collect(),
            data_type: code(tensor.dtype()),
            name: name.to_owned(),
            ..TensorProto::default()
        };
        Self {
            head: head.encode_to_vec(),
            tensor,
        }
    }

    fn raw_len(&self) -> usize {
        self.tensor.len() * self.tensor.dtype().size()
    }

    fn len(&self) -> usize {
        self.head.len() + field_len(RAW_DATA, self.raw_len())
    }

    fn append(&self, out: &mut Vec<u8>) {
        open_field(INITIALIZER, self.len(), out);
        out.extend_from_slice(&self.head);
        open_field(RAW_DATA, self.raw_len(), out);
        append_raw(self.tensor, out);
    }
}

/// The message of `model` with `graph` and its initializers in it; `None` when it is too large for one.
fn encode(
    model: &ModelProto,
    graph: &GraphProto,
    initializers: Vec<Initializer<'_>>,
) -> Option<Vec<u8>> {
    let rest = graph.encode_to_vec();
    let tensors = initializers.iter().map(|t| field_len(INITIALIZER, t.len()));
    let graph_len = tensors.fold(rest.len(), usize::saturating_add);
    let whole = model
        .encoded_len()
        .saturating_add(field_len(GRAPH, graph_len));
    if whole > MOST_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(whole);
    model.encode_raw(&mut out);
    open_field(GRAPH, graph_len, &mut out);
    out.extend_from_slice(&rest);
    for tensor in initializers {
        tensor.append(&mut out);
    }
    Some(out)
}

fn untyped(graph: &Graph, what: &str, id: ValueId) -> GraphError {
    let place = format!("graph {what} '{}'", graph.value(id).name);
    GraphError::Unsupported {
        place,
        reason: "its element type is not known".into(),
    }
}

fn node(
    graph: &Graph,
    node: &Node,
    opset: i64,
    names: &mut Names,
    extra: &mut Vec<(String, Tensor)>,
) -> Result<NodeProto, GraphError> {
    let mut emission = Emission {
        opset,
        attributes: Vec::new(),
        inputs: Vec::new(),
    };
    node.op.emit(&mut emission);
    let name = |v: &Option<ValueId>| v.map_or_else(String::new, |v| graph.value(v).name.clone());
    let mut input: Vec<String> = node.inputs.iter().map(name).collect();
    for resolved in emission.inputs {
        input.push(match resolved {
            None => String::new(),
            Some((what, t)) => {
                let name = names.unused(&format!("{}_{what}", node.name));
                names.take(&name, u32::MAX);
                extra.push((name.clone(), t));
                name
            }
        });
    }
    while input.last().is_some_and(String::is_empty) {
        input.pop();
    }
    let (domain, overload) = match &node.op {
        Op::Opaque(op) => (op.domain.clone(), op.overload.clone()),
        _ => Default::default(),
    };
    Ok(NodeProto {
        input,
        output: node.outputs.iter().map(name).collect(),
        name: node.name.clone(),
        op_type: node.op.name().to_owned(),
        attribute: emission
            .attributes
            .iter()
            .map(|a| attribute(a, &node.name))
            .collect::<Result<_, _>>()?,
        domain,
        overload,
    })
}

fn attribute(attribute: &Attribute, node: &str) -> Result<AttributeProto, GraphError> {
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

fn code(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F64 => 11,
    }
}

/// Appends the elements as ONNX's `raw_data` has them.
fn append_raw(tensor: &Tensor, out: &mut Vec<u8>) {
    fn each<const N: usize, T: Copy>(list: &[T], out: &mut Vec<u8>, bytes: impl Fn(T) -> [u8; N]) {
        list.iter().for_each(|&x| out.extend_from_slice(&bytes(x)));
    }
    match tensor.data() {
        TensorData::F32(v) => each(v, out, f32::to_le_bytes),
        TensorData::F64(v) => each(v, out, f64::to_le_bytes),
        TensorData::I64(v) => each(v, out, i64::to_le_bytes),
        TensorData::I32(v) => each(v, out, i32::to_le_bytes),
        TensorData::U8(v) => out.extend_from_slice(v),
        TensorData::I8(v) => each(v, out, i8::to_le_bytes),
        TensorData::Bool(v) => each(v, out, |x| [u8::from(x)]),
    }
}

fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    let mut raw = Vec::new();
    append_raw(tensor, &mut raw);
    TensorProto {
        dims: tensor.dims().iter().map(|&d| d as i64).collect(),
        data_type: code(tensor.dtype()),
        name: name.to_owned(),
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    }
}

fn shape(shape: &Shape) -> TensorShapeProto {
    let dim = |d: &Dim| match d {
        Dim::Known(n) => Dimension {
            dim_value: Some(*n as i64),
            dim_param: None,
        },
        Dim::Symbol(s) => Dimension {
            dim_value: None,
            dim_param: Some(s.clone()),
        },
    };
    TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    }
}

fn value_info(graph: &Graph, id: ValueId) -> Option<ValueInfoProto> {
    let value = graph.value(id);
    let tensor = TensorType {
        elem_type: code(value.dtype?),
        shape: value.shape.as_ref().map(shape),
    };
    Some(ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
        }),
    })
}

impl Graph {
    /// Compares two graphs as networks, by names: inputs and outputs with their types, nodes with their operators and
    /// wires, constants bit by bit. Ids, unused values and the operator set may differ.
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
            // A NaN attribute equals itself in words only.
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
