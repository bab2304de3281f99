//! Attributes of nodes.

use std::collections::HashSet;

use prost::Message;

use crate::attribute::{Attribute, AttributeValue};
use crate::captures::{DEPTH, subgraphs};
use crate::external::ExternalData;
use crate::proto::{AttributeProto, GraphProto, NodeProto, attribute_type as kind};
use crate::types::dtype;
use crate::{GraphError, Tensor, TensorData};

/// Reads the attributes of a node.
pub(crate) fn attributes(
    node: &NodeProto,
    name: &str,
    external: &dyn ExternalData,
) -> Result<Vec<Attribute>, GraphError> {
    let place = || format!("node '{name}'");
    let mut names = HashSet::new();
    let mut out = Vec::with_capacity(node.attribute.len());
    for proto in &node.attribute {
        if !names.insert(proto.name.as_str()) {
            let reason = format!("the attribute '{}' is given twice", proto.name);
            return Err(GraphError::Malformed {
                place: place(),
                reason,
            });
        }
        for graph in proto.g.iter().chain(&proto.graphs) {
            readable(graph, DEPTH).map_err(|reason| GraphError::Unsupported {
                place: place(),
                reason,
            })?;
        }
        out.push(Attribute {
            name: proto.name.clone(),
            value: value(proto, name, external)?,
        });
    }
    Ok(out)
}

fn value(
    proto: &AttributeProto,
    node: &str,
    external: &dyn ExternalData,
) -> Result<AttributeValue, GraphError> {
    let kind = if proto.r#type == kind::UNDEFINED {
        guess(proto)
    } else {
        proto.r#type
    };
    if !proto.ref_attr_name.is_empty() {
        return Ok(AttributeValue::Encoded(proto.encode_to_vec()));
    }
    Ok(match kind {
        kind::FLOAT => AttributeValue::Float(proto.f.unwrap_or(0.0)),
        kind::INT => AttributeValue::Int(proto.i.unwrap_or(0)),
        kind::STRING => AttributeValue::Text(proto.s.clone().unwrap_or_default()),
        kind::FLOATS => AttributeValue::Floats(proto.floats.clone()),
        kind::INTS => AttributeValue::Ints(proto.ints.clone()),
        kind::STRINGS => AttributeValue::Texts(proto.strings.clone()),
        kind::TENSOR => match &proto.t {
            // An opaque node may carry elements of an unsupported type.
            Some(t) if dtype(t.data_type).is_none() && t.data_location != 1 => {
                AttributeValue::Encoded(proto.encode_to_vec())
            }
            Some(t) => AttributeValue::Tensor(super::tensor::tensor(t, node, external)?),
            None => {
                let reason = format!("the attribute '{}' holds no tensor", proto.name);
                return Err(GraphError::Malformed {
                    place: format!("node '{node}'"),
                    reason,
                });
            }
        },
        _ => AttributeValue::Encoded(proto.encode_to_vec()),
    })
}

/// The type of an attribute in a file that predates the field for it.
fn guess(proto: &AttributeProto) -> i32 {
    if proto.f.is_some() {
        kind::FLOAT
    } else if proto.i.is_some() {
        kind::INT
    } else if proto.s.is_some() {
        kind::STRING
    } else if proto.t.is_some() {
        kind::TENSOR
    } else if !proto.floats.is_empty() {
        kind::FLOATS
    } else if !proto.ints.is_empty() {
        kind::INTS
    } else if !proto.strings.is_empty() {
        kind::STRINGS
    } else {
        kind::UNDEFINED
    }
}

/// Checks that a subgraph and those in it can be decoded.
fn readable(bytes: &[u8], depth: usize) -> Result<(), String> {
    let graph =
        GraphProto::decode(bytes).map_err(|e| format!("its subgraph cannot be read: {e}"))?;
    if depth == 0 {
        return Err("its subgraphs nest too deep".into());
    }
    let mut inner = graph.node.iter().flat_map(subgraphs);
    inner.try_for_each(|graph| readable(graph, depth - 1))
}

/// The value of a Constant node, if it is numeric.
pub(super) fn constant_value(
    attributes: &[Attribute],
    node: &str,
) -> Result<Option<Tensor>, GraphError> {
    let [attribute] = attributes else {
        return Err(GraphError::Malformed {
            place: format!("node '{node}'"),
            reason: "one value is needed".into(),
        });
    };
    Ok(Some(match (attribute.name.as_str(), &attribute.value) {
        ("value", AttributeValue::Tensor(t)) => t.clone(),
        ("value_float", AttributeValue::Float(v)) => Tensor::scalar(*v),
        ("value_int", AttributeValue::Int(v)) => {
            Tensor::new(Vec::new(), TensorData::I64(vec![*v]))?
        }
        ("value_floats", AttributeValue::Floats(v)) => Tensor::f32([v.len()], v.clone())?,
        ("value_ints", AttributeValue::Ints(v)) => Tensor::i64s(v.clone()),
        ("value", _) => {
            let reason = "its tensor's elements are of a type that is not supported".to_owned();
            return Err(GraphError::Unsupported {
                place: format!("node '{node}'"),
                reason,
            });
        }
        _ => return Ok(None),
    }))
}
