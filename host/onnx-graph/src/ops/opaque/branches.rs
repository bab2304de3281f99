//! Outputs of an If, where both branches state the same.

use prost::Message;

use super::seen::Seen;
use super::shapes::Shapes;
use crate::attribute::AttributeValue;
use crate::graph::{Dim, Shape};
use crate::proto::{AttributeProto, GraphProto};

fn branch(seen: &Seen<'_>, name: &str) -> Option<Vec<Option<Shape>>> {
    let Some(AttributeValue::Encoded(bytes)) = seen.attribute(name) else {
        return None;
    };
    let attribute = AttributeProto::decode(bytes.as_slice()).ok()?;
    let graph = GraphProto::decode(attribute.g?.as_slice()).ok()?;
    let outputs = graph.output.iter();
    let shapes = outputs.map(|o| crate::read::tensor_type(o.r#type.as_ref(), &o.name)?.2);
    Some(shapes.collect())
}

/// For each output its shape, as far as both branches state one of known sizes and do not differ.
pub(super) fn shapes(seen: &Seen<'_>) -> Shapes {
    let (yes, no) = (branch(seen, "then_branch")?, branch(seen, "else_branch")?);
    let both = yes.into_iter().zip(no).map(|pair| match pair {
        (Some(a), Some(b)) if a == b && a.iter().all(|d: &Dim| d.known().is_some()) => Some(a),
        _ => None,
    });
    Some(both.collect())
}
