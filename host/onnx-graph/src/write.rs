//! A graph to ONNX bytes.

mod node;
mod tensor;

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use crate::graph::Graph;
use crate::ops::Op;
use crate::ports::Port;
use crate::proto::{GraphProto, ModelProto, NodeProto, OperatorSetId, ValueInfoProto};
use crate::types::value_info;
use crate::value::ValueId;
use crate::{GraphError, Tensor};
use node::Writer;
use tensor::{Initializer, encode};

/// The first format version in which initialisers need not be inputs.
const OLDEST_IR: i64 = 4;

/// Writes a graph as an ONNX model. Equal graphs give equal bytes. Constants that no node reads
/// are left out. The operator set is the graph's, or the first with the forms of all nodes.
/// Metadata, descriptions and the names of open sizes are written as they were read.
///
/// # Errors
/// Those of [`Graph::check`]; [`GraphError::Unsupported`] if an opaque node has another meaning
/// in the operator set that is written, if the type of an input or output is unknown, and if the
/// model exceeds 2 GiB.
pub fn write(graph: &Graph) -> Result<Vec<u8>, GraphError> {
    write_with_ranges(graph).map(|written| written.bytes)
}

/// A written model.
#[derive(Debug, Clone)]
pub struct Written {
    /// The ONNX file.
    pub bytes: Vec<u8>,
    /// The bytes of the file that hold the elements of each constant, little-endian in row-major
    /// order. Constants stored as integers are not listed.
    pub ranges: BTreeMap<ValueId, Range<usize>>,
}

/// As [`write()`], with the places of the constants.
///
/// # Errors
/// Those of [`write()`].
pub fn write_with_ranges(graph: &Graph) -> Result<Written, GraphError> {
    graph.check()?;
    let opset = operator_set(graph)?;
    let mut value_infos = Vec::new();
    let read = graph
        .nodes
        .iter()
        .flat_map(|node| node.inputs.iter().flatten());
    let used: HashSet<ValueId> = graph.outputs.iter().chain(read).copied().collect();
    let mut writer = Writer::new(graph, opset, &used);
    let constants = graph.constants.iter().filter(|(id, _)| used.contains(id));
    let (stored, floats): (Vec<_>, Vec<_>) = constants.partition(|(_, t)| t.stored().is_some());
    for (&id, tensor) in stored {
        writer.stored(id, tensor);
    }
    for node in &graph.nodes {
        writer.node(node)?;
        // Shapes that rules may not determine for the next reader are stated.
        let unknown = |v: &ValueId| graph.value(*v).shape.is_none();
        if matches!(node.op, Op::Opaque(_)) || node.inputs.iter().flatten().any(unknown) {
            let outputs = node
                .outputs
                .iter()
                .flatten()
                .filter(|v| !graph.outputs.contains(v));
            value_infos.extend(outputs.filter_map(|&v| value_info(graph.value(v))));
        }
    }
    let ids: Vec<ValueId> = floats.iter().map(|(id, _)| **id).collect();
    let constants = floats.into_iter();
    let constants = constants.map(|(&id, t)| (graph.value(id).name.clone(), t));
    let extra = writer.extra.iter();
    let extra = extra.map(|(name, t): &(String, Tensor)| (name.clone(), t));
    let initializers = constants
        .chain(extra)
        .map(|(name, t)| Initializer::new(&name, t))
        .collect();
    let port = |kind: Port, id: ValueId| -> Result<ValueInfoProto, GraphError> {
        let port = graph.port(kind, id);
        port.ok_or_else(|| untyped(graph, kind.name(), id))
    };
    let inputs = graph.inputs.iter().map(|&id| port(Port::Input, id));
    let outputs = graph.written_outputs().into_iter();
    let outputs = outputs.map(|output| match output {
        Ok(id) => port(Port::Output, id),
        Err(declared) => Ok(declared.clone()),
    });
    let mut nodes = writer.nodes;
    let mut constants = Vec::new();
    if let Some(mut tail) = graph.written_tail(opset, &names_of(graph, &nodes, &writer.extra))? {
        nodes.append(&mut tail.nodes);
        constants = tail.constants;
    }
    let about = &graph.about;
    let proto = GraphProto {
        name: graph.name.clone(),
        node: nodes,
        initializer: constants,
        doc_string: about.graph_doc_string.clone(),
        input: inputs.collect::<Result<_, _>>()?,
        output: outputs.collect::<Result<_, _>>()?,
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
    let (bytes, ranges) =
        encode(&model, &proto, initializers).ok_or_else(|| GraphError::Unsupported {
            place: format!("graph '{}'", graph.name),
            reason: "the model is over 2 GiB, more than one ONNX file holds".to_owned(),
        })?;
    Ok(Written {
        bytes,
        ranges: ids.into_iter().zip(ranges).collect(),
    })
}

/// The names of a file: those of the graph and of what is written besides.
fn names_of<'a>(
    graph: &'a Graph,
    nodes: &'a [NodeProto],
    extra: &'a [(String, Tensor)],
) -> HashSet<&'a str> {
    let values = graph.values.iter().map(|value| &value.name);
    let extra = extra.iter().map(|(name, _)| name);
    let made = nodes.iter().flat_map(|node| &node.output);
    let names = values.chain(extra).chain(made);
    names.map(String::as_str).collect()
}

/// The graph's operator set, or the first with the forms of all nodes.
fn operator_set(graph: &Graph) -> Result<i64, GraphError> {
    let since = graph
        .nodes
        .iter()
        .map(|node| (node.op.since(&graph.facts(node)), node));
    let since = since.map(|(since, node)| (since, format!("'{}' ({})", node.name, node.op.name())));
    let stored = graph.constants.iter().filter_map(|(&id, tensor)| {
        let stored = tensor.stored()?;
        let since = stored.scaling.since(stored.integers.dtype());
        Some((since, format!("of the integers '{}'", graph.value(id).name)))
    });
    let newest = since.chain(stored).max_by_key(|(since, _)| *since);
    let Some((opset, cause)) = newest.filter(|(since, _)| *since > graph.opset) else {
        return Ok(graph.opset);
    };
    for node in &graph.nodes {
        if let Op::Opaque(op) = &node.op
            && op.domain.is_empty()
            && !crate::ops::unchanged(&op.op_type, graph.opset, opset)
        {
            let reason = format!(
                "the model is of operator set {}, node {cause} is written in a form that needs {opset}, and {} is not \
                 known to mean the same there; export the model at operator set {opset} or later",
                graph.opset, op.op_type,
            );
            return Err(GraphError::Unsupported {
                place: format!("node '{}'", node.name),
                reason,
            });
        }
    }
    Ok(opset)
}

/// The format version that was released with an operator set
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

fn untyped(graph: &Graph, what: &str, id: ValueId) -> GraphError {
    let place = format!("graph {what} '{}'", graph.value(id).name);
    GraphError::Unsupported {
        place,
        reason: "its element type is not known".into(),
    }
}
