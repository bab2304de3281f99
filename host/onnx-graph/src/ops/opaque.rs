//! Operators without a typed form: their nodes are written back as they were read.
//!
//! [`table`] lists those whose shapes, element types, work and folding are known nevertheless.

mod branches;
mod folding;
mod node;
mod rules;
mod shapes;
mod signature;
mod table;
mod versions;
mod work;

use crate::attribute::{Attribute, AttributeValue};

pub(crate) use node::INVENTED;
pub(crate) use signature::Output;
pub(crate) use table::rows;
pub(crate) use versions::unchanged;

/// A node that stays uninterpreted: its operator, or the form of its operator, has no typed
/// counterpart.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opaque {
    /// Operator domain; empty for ONNX's own.
    pub domain: String,
    /// Name of the operator in its domain.
    pub op_type: String,
    /// Overload of the function that is called; empty for all nodes but such calls.
    pub overload: String,
    /// Attributes in the form of the file.
    pub attributes: Vec<Attribute>,
}

impl Opaque {
    pub(crate) fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        let attribute = self.attributes.iter().find(|a| a.name == name)?;
        Some(&attribute.value)
    }

    /// An integer attribute; `default` if it is absent or of another type.
    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(AttributeValue::Int(v)) => *v,
            _ => default,
        }
    }

    /// A text attribute.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attribute(name) {
            Some(AttributeValue::Text(text)) => std::str::from_utf8(text).ok(),
            _ => None,
        }
    }

    /// The position of the input that lists the sizes of the output, for operators that have
    /// one.
    #[must_use]
    pub fn sizes_input(&self) -> Option<usize> {
        match (self.domain.as_str(), self.op_type.as_str()) {
            ("", "ConstantOfShape") => Some(0),
            ("", "Expand" | "Reshape") => Some(1),
            // With these attributes the list has the sizes of some axes, or bounds of them.
            ("", "Resize") => {
                let policy = self.attribute("keep_aspect_ratio_policy");
                let stretches =
                    policy.is_none() || self.text("keep_aspect_ratio_policy") == Some("stretch");
                (stretches && self.attribute("axes").is_none()).then_some(3)
            }
            _ => None,
        }
    }
}
