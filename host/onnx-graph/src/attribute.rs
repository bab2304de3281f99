//! Attributes of operators, in the form of the file.

use crate::Tensor;

/// A named attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// Name, unique within its node.
    pub name: String,
    /// The value.
    pub value: AttributeValue,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttributeValue {
    /// A float.
    Float(f32),
    /// An integer.
    Int(i64),
    /// Text, not necessarily UTF-8.
    Text(Vec<u8>),
    /// Floats.
    Floats(Vec<f32>),
    /// Integers.
    Ints(Vec<i64>),
    /// Several texts.
    Texts(Vec<Vec<u8>>),
    /// A tensor.
    Tensor(Tensor),
    /// Anything else (subgraphs, types, sparse tensors): the encoded `AttributeProto`.
    Encoded(Vec<u8>),
}
