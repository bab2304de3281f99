//! Outputs of an If whose branches agree.

use prost::Message;

use super::node::OpaqueNode;
use super::signature::Shapes;
use crate::attribute::AttributeValue;
use crate::proto::{AttributeProto, GraphProto};
use crate::types::tensor_type;
use crate::value::{Dim, Shape};

/// The shapes that a branch states for its outputs.
fn branch(node: &OpaqueNode<'_>, name: &str) -> Option<Vec<Option<Shape>>> {
    let Some(AttributeValue::Encoded(bytes)) = node.attribute(name) else {
        return None;
    };
    let attribute = AttributeProto::decode(bytes.as_slice()).ok()?;
    let graph = GraphProto::decode(attribute.g?.as_slice()).ok()?;
    let outputs = graph.output.iter();
    let shapes = outputs.map(|o| tensor_type(o.r#type.as_ref(), &o.name)?.shape);
    Some(shapes.collect())
}

/// Per output the shape that both branches state, if all its sizes are known.
pub(super) fn shapes(node: &OpaqueNode<'_>) -> Shapes {
    let (yes, no) = (branch(node, "then_branch")?, branch(node, "else_branch")?);
    let both = yes.into_iter().zip(no).map(|pair| match pair {
        (Some(a), Some(b)) if a == b && a.iter().all(|d: &Dim| d.known().is_some()) => Some(a),
        _ => None,
    });
    Some(both.collect())
}
