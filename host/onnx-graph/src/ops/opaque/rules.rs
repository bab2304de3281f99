//! Types, shapes, work and folding of opaque nodes.

use super::node::OpaqueNode;
use super::signature::{Output, Type, Work};
use super::{Opaque, branches, table, work};
use crate::DType;
use crate::attribute::AttributeValue;
use crate::fold::{Array, Operands};
use crate::ops::Facts;
use crate::types::dtype;
use crate::value::{Dim, Shape};

impl Opaque {
    /// The outputs of an operator in the table.
    pub(crate) fn outputs(&self, facts: &Facts<'_>) -> Option<Vec<Output>> {
        let signature = table::find(&self.domain, &self.op_type)?;
        let node = OpaqueNode { op: self, facts };
        let shapes = match signature.work {
            Work::Subgraphs => branches::shapes(&node),
            _ => (signature.shapes)(&node),
        };
        let mut shapes = shapes.unwrap_or_default().into_iter();
        let outputs = 0..facts.outputs.len();
        let outputs = outputs.map(|i| Output {
            shape: shapes.next().flatten(),
            dtype: signature
                .types
                .get(i)
                .or(signature.types.last())
                .and_then(|t| self.type_of(*t, &node)),
        });
        Some(outputs.collect())
    }

    fn type_of(&self, of: Type, node: &OpaqueNode<'_>) -> Option<DType> {
        match of {
            Type::Input(i) => node.dtype(i),
            Type::Fixed(dtype) => Some(dtype),
            Type::Attribute(name, fallback) => match self.attribute(name) {
                Some(AttributeValue::Int(code)) => coded(*code),
                Some(AttributeValue::Tensor(tensor)) => Some(tensor.dtype()),
                Some(_) => None,
                None if fallback == usize::MAX => Some(DType::F32),
                None => node.dtype(fallback),
            },
            Type::ZeroPoint(i) => match self.attribute("output_dtype") {
                Some(AttributeValue::Int(code)) if *code != 0 => coded(*code),
                _ if node.has_input(i) => node.dtype(i),
                _ => Some(DType::U8),
            },
        }
    }

    /// The target type of a Cast.
    #[must_use]
    pub fn cast_to(&self) -> Option<DType> {
        match self.attribute("to") {
            Some(AttributeValue::Int(code)) if self.op_type == "Cast" => coded(*code),
            _ => None,
        }
    }

    /// The factors of the multiply-accumulates of a node; `None` if they are unknown.
    pub(crate) fn work(&self, facts: &Facts<'_>) -> Option<Shape> {
        let signature = table::find(&self.domain, &self.op_type)?;
        work::factors(&OpaqueNode { op: self, facts }, signature.work)
    }

    /// The result over constants and sizes.
    pub(crate) fn fold<'a>(
        &self,
        shape: Option<&[Dim]>,
        operands: impl FnOnce() -> Option<Operands<'a>>,
    ) -> Option<Array> {
        let signature = table::find(&self.domain, &self.op_type)?;
        signature.fold.apply(self, shape, operands)
    }

    /// The inputs with quantised weights, for an operator whose other constants are scales and
    /// zero points.
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

    /// Whether the node may contain parameters, in a subgraph or packed.
    pub(crate) fn hides_parameters(&self) -> bool {
        let work = table::find(&self.domain, &self.op_type).map(|signature| signature.work);
        matches!(work, Some(Work::Subgraphs | Work::Packed))
    }
}

/// The element type with one of ONNX's numbers.
fn coded(code: i64) -> Option<DType> {
    i32::try_from(code).ok().and_then(dtype)
}
