//! Nodes that are kept as they are.

mod branches;
mod known;
mod seen;
mod shapes;
mod work;

use super::context::Facts;
use crate::DType;
use crate::attribute::{Attribute, AttributeValue};
use crate::graph::Shape;
use known::Type;
pub(crate) use seen::MADE_UP;
use seen::Seen;
use work::Work;

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

/// What is known of one output.
#[derive(Debug, Clone, Default)]
pub(crate) struct Output {
    pub shape: Option<Shape>,
    pub dtype: Option<DType>,
}

impl Opaque {
    fn attribute(&self, name: &str) -> Option<&AttributeValue> {
        let found = self.attributes.iter().find(|a| a.name == name)?;
        Some(&found.value)
    }

    /// What is known of the outputs of an operator that is known.
    pub(crate) fn outputs(&self, facts: &Facts<'_>) -> Option<Vec<Output>> {
        let known = known::find(&self.domain, &self.op_type)?;
        let seen = Seen { op: self, facts };
        let shapes = match known.work {
            Work::Subgraphs => branches::shapes(&seen),
            _ => (known.shapes)(&seen),
        };
        let mut shapes = shapes.unwrap_or_default().into_iter();
        let outputs = 0..facts.node.outputs.len();
        let outputs = outputs.map(|i| Output {
            shape: shapes.next().flatten(),
            dtype: known
                .types
                .get(i)
                .or(known.types.last())
                .and_then(|t| self.type_of(*t, &seen)),
        });
        Some(outputs.collect())
    }

    fn type_of(&self, of: Type, seen: &Seen<'_>) -> Option<DType> {
        match of {
            Type::Input(i) => seen.dtype(i),
            Type::Fixed(dtype) => Some(dtype),
            Type::Attribute(name, fallback) => match self.attribute(name) {
                Some(AttributeValue::Int(code)) => coded(*code),
                Some(AttributeValue::Tensor(tensor)) => Some(tensor.dtype()),
                Some(_) => None,
                None if fallback == usize::MAX => Some(DType::F32),
                None => seen.dtype(fallback),
            },
            Type::ZeroPoint(i) => match self.attribute("output_dtype") {
                Some(AttributeValue::Int(code)) if *code != 0 => coded(*code),
                _ if seen.has_input(i) => seen.dtype(i),
                _ => Some(DType::U8),
            },
        }
    }

    /// The type that a Cast casts to.
    pub(crate) fn cast_to(&self) -> Option<DType> {
        match self.attribute("to") {
            Some(AttributeValue::Int(code)) if self.op_type == "Cast" => coded(*code),
            _ => None,
        }
    }

    /// The factors of the multiply-accumulates of a node; `None` where they are not known.
    pub(crate) fn work(&self, facts: &Facts<'_>) -> Option<Shape> {
        let known = known::find(&self.domain, &self.op_type)?;
        work::factors(&Seen { op: self, facts }, known.work)
    }

    /// The inputs that hold quantised weights, for an operator whose other constants are scales and zero points.
    pub(crate) fn quantised_weights(&self) -> Option<&'static [usize]> {
        Some(match self.op_type.as_str() {
            "QLinearConv" => &[3, 8],
            "ConvInteger" | "MatMulInteger" => &[1],
            "QLinearMatMul" => &[3],
            "QGemm" => &[3, 6],
            "DynamicQuantizeMatMul" => &[1, 4],
            "MatMulIntegerToFloat" => &[1, 6],
            "QLinearAdd" | "QLinearMul" => &[0, 3],
            "DequantizeLinear" | "QuantizeLinear" => &[0],
            "DynamicQuantizeLinear" => &[],
            name if name.starts_with("QLinear") => &[],
            _ => return None,
        })
    }

    /// Whether parameters may be inside the node, in a subgraph or packed.
    pub(crate) fn hides_parameters(&self) -> bool {
        let work = known::find(&self.domain, &self.op_type).map(|known| known.work);
        matches!(work, Some(Work::Subgraphs | Work::Packed))
    }
}

/// The element type of a number of the file.
fn coded(code: i64) -> Option<DType> {
    i32::try_from(code).ok().and_then(crate::read::dtype)
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
