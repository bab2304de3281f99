//! Nodes that are kept as they are.

use super::context::Facts;
use crate::DType;
use crate::attribute::{Attribute, AttributeValue};
use crate::graph::{Dim, Shape};

/// A node this crate does not interpret: an operator it has no rule for, or one in a form it has no rule for.
/// It is written back unchanged.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Opaque {
    /// Operator domain; empty is ONNX's own.
    pub domain: String,
    /// Operator name in the domain.
    pub op_type: String,
    /// Which of several functions of that name is called; empty for all but such calls.
    pub overload: String,
    /// Attributes as the file has them.
    pub attributes: Vec<Attribute>,
}

/// Operators whose first output has the shape of their first input, and its type unless they are there to change it.
const SHAPE_KEEPING: [&str; 29] = [
    "Abs",
    "Atan",
    "Cast",
    "Ceil",
    "Celu",
    "Cos",
    "CumSum",
    "Elu",
    "Floor",
    "GroupNormalization",
    "Hardmax",
    "InstanceNormalization",
    "LRN",
    "LayerNormalization",
    "Log",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "Reciprocal",
    "Round",
    "Selu",
    "Shrink",
    "Sign",
    "Sin",
    "Softplus",
    "Softsign",
    "ThresholdedRelu",
];

impl Opaque {
    /// The shape of the first output where the operator is known to keep its input's.
    pub(crate) fn shapes(&self, facts: &Facts<'_>) -> Option<Vec<Option<Shape>>> {
        let keeps = self.domain.is_empty() && SHAPE_KEEPING.contains(&self.op_type.as_str());
        (keeps && facts.node.outputs.len() == 1).then(|| vec![facts.shape(0).map(<[Dim]>::to_vec)])
    }
}

impl Opaque {
    /// The type of the first output, given the first input's.
    pub(crate) fn dtype(&self, input: Option<DType>) -> Option<DType> {
        let to = self.attributes.iter().find(|a| a.name == "to");
        match (self.op_type.as_str(), to.map(|a| &a.value)) {
            ("Cast", Some(AttributeValue::Int(code))) => {
                i32::try_from(*code).ok().and_then(crate::read::dtype)
            }
            ("Cast", _) => None,
            _ => input,
        }
    }
}

/// The operator set from which on an operator's form and meaning are those of opset 13 (later versions only add
/// element types, optional parts or wider ranges), for operators that a model may carry through opaquely.
fn settled(op_type: &str) -> Option<i64> {
    Some(match op_type {
        "ArgMax" | "ArgMin" | "Conv" | "ConvTranspose" | "DepthToSpace" | "Flatten" | "Gather"
        | "Identity" | "LRN" | "LpNormalization" | "MatMul" | "ReduceL1" | "ReduceL2"
        | "ReduceLogSum" | "ReduceLogSumExp" | "ReduceMax" | "ReduceMin" | "ReduceProd"
        | "ReduceSumSquare" | "Shape" | "Size" | "Softplus" | "Softsign" | "SpaceToDepth"
        | "Transpose" => 1,
        "GlobalLpPool" | "LpPool" => 2,
        "Concat" => 4,
        "Reshape" => 5,
        "Abs"
        | "Cast"
        | "Ceil"
        | "Elu"
        | "Exp"
        | "Floor"
        | "InstanceNormalization"
        | "Log"
        | "Neg"
        | "Reciprocal"
        | "Relu"
        | "Selu"
        | "Sigmoid"
        | "Sqrt"
        | "Tanh"
        | "Tile" => 6,
        "Add" | "And" | "AveragePool" | "Cos" | "Div" | "Equal" | "Gemm" | "Greater" | "Less"
        | "Mul" | "Not" | "Or" | "PRelu" | "Pow" | "Sin" | "Sub" | "Xor" => 7,
        "Expand" | "Max" | "MaxPool" | "Mean" | "Min" | "Sum" => 8,
        "ConstantOfShape"
        | "Erf"
        | "IsNaN"
        | "MeanVarianceNormalization"
        | "NonZero"
        | "OneHot"
        | "Sign"
        | "Where" => 9,
        "Mod" | "Slice" | "ThresholdedRelu" => 10,
        "Clip" | "CumSum" | "GatherElements" | "GatherND" | "NonMaxSuppression" | "Pad"
        | "Range" | "Resize" | "Round" | "ScatterElements" | "ScatterND" | "TopK" => 11,
        "Celu" | "Dropout" | "Einsum" | "GreaterOrEqual" | "LessOrEqual" => 12,
        _ => return None,
    })
}

/// Whether a node kept as it is means the same in operator set `to` as in `from`.
pub(crate) fn unchanged(op_type: &str, from: i64, to: i64) -> bool {
    let reduces = op_type.starts_with("Reduce");
    settled(op_type).is_some_and(|since| from >= since) && (to < 18 || from >= 18 || !reduces)
}
