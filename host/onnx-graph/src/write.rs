//! A graph to ONNX bytes.

mod node;

use std::collections::HashSet;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::graph::{Dim, Graph, Node, Shape, ValueId};
use crate::ops::{Facts, Op};
use crate::proto::{
    Dimension, GraphProto, ModelProto, OperatorSetId, TensorProto, TensorShapeProto, TensorType,
    TypeProto, ValueInfoProto,
};
use crate::{DType, GraphError, Tensor, TensorData};
use node::Writer;

/// The first format version to allow initialisers that are no inputs.
const OLDEST_IR: i64 = 4;
/// A protobuf message ends here.
const MOST_BYTES: usize = i32::MAX as usize;

/// Writes a graph as an ONNX model. The same graph gives the same bytes. Only constants that are read are written.
/// The operator set is the graph's, or the first that has all the forms written. What a file said of itself, its metadata and the
/// names of open sizes, is written as it was read.
///
/// # Errors
/// What [`Graph::check`] reports; [`GraphError::Unsupported`] when a node kept as it was read means something else in
/// the operator set written, when an output's type is not known, and when the model is over 2 GiB.
pub fn write(graph: &Graph) -> Result<Vec<u8>, GraphError> {
    graph.check()?;
    let opset = operator_set(graph)?;
    let mut writer = Writer::new(graph, opset);
    let mut value_infos = Vec::new();
    let mut used: HashSet<ValueId> = graph.outputs.iter().copied().collect();
    for node in &graph.nodes {
        used.extend(node.inputs.iter().flatten());
        writer.node(node)?;
        // What no rule gives the next reader; nor does a rule that knows nothing of its inputs.
        let unknown = |v: &ValueId| graph.value(*v).shape.is_none();
        if matches!(node.op, Op::Opaque(_)) || node.inputs.iter().flatten().any(unknown) {
            let outputs = node
                .outputs
                .iter()
                .flatten()
                .filter(|v| !graph.outputs.contains(v));
            value_infos.extend(outputs.filter_map(|&v| value_info(graph, v)));
        }
    }
    let constants = graph.constants.iter().filter(|(id, _)| used.contains(id));
    let constants = constants.map(|(&id, t)| (graph.value(id).name.clone(), t));
    let extra = writer.extra.iter();
    let extra = extra.map(|(name, t): &(String, Tensor)| (name.clone(), t));
    let initializers = constants
        .chain(extra)
        .map(|(name, t)| Initializer::new(&name, t))
        .collect();
    let ports = |what: &str, ids: &[ValueId]| -> Result<Vec<ValueInfoProto>, GraphError> {
        let port = |&id| graph.port(id).ok_or_else(|| untyped(graph, what, id));
        ids.iter().map(port).collect()
    };
    let about = &graph.about;
    let proto = GraphProto {
        name: graph.name.clone(),
        node: writer.nodes,
        doc_string: about.graph_doc_string.clone(),
        input: ports("input", &graph.inputs)?,
        output: ports("output", &graph.outputs)?,
        value_info: value_infos,
        metadata_props: about.graph_metadata.clone(),
        ..GraphProto::default()
    };
    let mut opset_import = vec![OperatorSetId {
        domain: String::new(),
        version: opset,
    }];
    let other = graph.imports.iter();
    opset_import.extend(other.map(|(domain, version)| OperatorSetId {
        domain: domain.clone(),
        version: *version,
    }));
    let format = if opset == graph.opset {
        OLDEST_IR
    } else {
        format_version(opset)
    };
    let model = ModelProto {
        ir_version: graph.ir_version.max(format),
        graph: None,
        opset_import,
        functions: graph.functions.clone(),
        ..about.model()
    };
    encode(&model, &proto, initializers).ok_or_else(|| GraphError::Unsupported {
        place: format!("graph '{}'", graph.name),
        reason: "the model is over 2 GiB, more than one ONNX file holds".to_owned(),
    })
}

/// The graph's operator set, or the first that has the forms of all nodes.
fn operator_set(graph: &Graph) -> Result<i64, GraphError> {
    let since = |node| (node_since(graph, node), node);
    let newest = graph
        .nodes
        .iter()
        .map(since)
        .max_by_key(|(since, _)| *since);
    let Some((opset, cause)) = newest.filter(|(since, _)| *since > graph.opset) else {
        return Ok(graph.opset);
    };
    for node in &graph.nodes {
        if let Op::Opaque(op) = &node.op
            && op.domain.is_empty()
            && !crate::ops::unchanged(&op.op_type, graph.opset, opset)
        {
            let reason = format!(
                "the model is of operator set {}, node '{}' ({}) is written in a form that needs {opset}, and {} is not \
                 known to mean the same there; export the model at operator set {opset} or later",
                graph.opset,
                cause.name,
                cause.op.name(),
                op.op_type,
            );
            return Err(GraphError::Unsupported {
                place: format!("node '{}'", node.name),
                reason,
            });
        }
    }
    Ok(opset)
}

fn node_since(graph: &Graph, node: &Node) -> i64 {
    node.op.since(&Facts { graph, node })
}

/// The format version that an operator set came with
/// ([table](https://onnx.ai/onnx/repo-docs/Versioning.html#released-versions)).
fn format_version(opset: i64) -> i64 {
    match opset {
        ..=9 => 4,
        10 => 5,
        11 => 6,
        12..=14 => 7,
        15..=18 => 8,
        19..=20 => 9,
        21..=22 => 10,
        23 => 11,
        24 => 12,
        _ => 13,
    }
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
            ..Dimension::default()
        },
        Dim::Symbol(s) => Dimension {
            dim_param: Some(s.clone()),
            ..Dimension::default()
        },
    };
    TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    }
}

pub(crate) fn value_info(graph: &Graph, id: ValueId) -> Option<ValueInfoProto> {
    let value = graph.value(id);
    let tensor = TensorType {
        elem_type: code(value.dtype?),
        shape: value.shape.as_ref().map(shape),
    };
    Some(ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    })
}
