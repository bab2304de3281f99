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

use crate::Tensor;
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
    /// Names under which the node's subgraphs read values of the graph around them. These values
    /// are the last inputs of the node.
    pub captured: Vec<String>,
}

impl Opaque {
    pub(crate) fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        let attribute = self.attributes.iter().find(|a| a.name == name)?;
        Some(&attribute.value)
    }

    /// An integer attribute; `default` if it is absent or of another type.
    #[must_use]
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attribute(name) {
            Some(AttributeValue::Int(v)) => *v,
            _ => default,
        }
    }

    /// A float attribute; `default` if it is absent or of another type.
    #[must_use]
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attribute(name) {
            Some(AttributeValue::Float(v)) => *v,
            _ => default,
        }
    }

    /// A tensor attribute.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.attribute(name) {
            Some(AttributeValue::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// A list of integers.
    #[must_use]
    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        match self.attribute(name)? {
            AttributeValue::Ints(list) => Some(list.clone()),
            _ => None,
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

    /// The axis of the first input that a recurrent layer steps along.
    #[must_use]
    pub fn steps_along(&self) -> Option<usize> {
        let is_batch_first = self.int("layout", 0) != 0;
        self.is_recurrent().then_some(usize::from(is_batch_first))
    }

    /// A recurrent layer: GRU, LSTM or RNN.
    #[must_use]
    pub fn is_recurrent(&self) -> bool {
        self.domain.is_empty() && matches!(self.op_type.as_str(), "GRU" | "LSTM" | "RNN")
    }

    /// Whether the node divides by the root of the mean square:
    /// [RMSNormalization](https://onnx.ai/onnx/operators/onnx__RMSNormalization.html), and the
    /// same under the name that ONNX Runtime's own tools write.
    #[must_use]
    pub fn is_root_mean_square(&self) -> bool {
        let name = self.op_type.as_str();
        match self.domain.as_str() {
            "" => matches!(name, "RMSNormalization" | "SimplifiedLayerNormalization"),
            "com.microsoft" => name == "SimplifiedLayerNormalization",
            _ => false,
        }
    }

    /// The position of the input that lists the sizes of the output, how often each is repeated,
    /// or what is added to each, for operators that have one.
    #[must_use]
    pub fn sizes_input(&self) -> Option<usize> {
        match (self.domain.as_str(), self.op_type.as_str()) {
            ("", "ConstantOfShape") => Some(0),
            ("", "Expand" | "Pad" | "Reshape" | "Tile") => Some(1),
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
