//! Element types and shapes in the encoding of the file.

use crate::DType;
use crate::proto::{Dimension, TensorShapeProto, TensorType, TypeProto, ValueInfoProto};
use crate::value::{Dim, Shape, Value};

/// The element type with ONNX's number `code`, if it is supported.
pub(crate) fn dtype(code: i32) -> Option<DType> {
    Some(match code {
        1 => DType::F32,
        2 => DType::U8,
        3 => DType::I8,
        4 => DType::U16,
        5 => DType::I16,
        6 => DType::I32,
        7 => DType::I64,
        9 => DType::Bool,
        10 => DType::F16,
        11 => DType::F64,
        12 => DType::U32,
        13 => DType::U64,
        16 => DType::BF16,
        21 => DType::U4,
        22 => DType::I4,
        _ => return None,
    })
}

/// ONNX's number of an element type.
pub(crate) fn code(dtype: DType) -> i32 {
    match dtype {
        DType::F32 => 1,
        DType::U8 => 2,
        DType::I8 => 3,
        DType::U16 => 4,
        DType::I16 => 5,
        DType::I32 => 6,
        DType::I64 => 7,
        DType::Bool => 9,
        DType::F16 => 10,
        DType::F64 => 11,
        DType::U32 => 12,
        DType::U64 => 13,
        DType::BF16 => 16,
        DType::U4 => 21,
        DType::I4 => 22,
    }
}

/// Name of an unsupported element type, for messages.
fn dtype_name(code: i32) -> String {
    let known = match code {
        0 => "undefined",
        8 => "string",
        14 => "complex64",
        15 => "complex128",
        _ => return format!("type {code}"),
    };
    known.to_owned()
}

/// Why a tensor with elements of an unsupported type is refused.
pub(crate) fn unsupported(code: i32) -> String {
    format!("elements of {} are not supported", dtype_name(code))
}

/// A tensor type of the file.
pub(crate) struct StatedType {
    /// ONNX's number of the element type.
    pub code: i32,
    /// The element type, if supported.
    pub dtype: Option<DType>,
    /// The shape, if stated.
    pub shape: Option<Shape>,
}

/// Decodes a tensor type; `None` for types that are not tensors. Open sizes without a name are
/// named after `name`.
pub(crate) fn tensor_type(proto: Option<&TypeProto>, name: &str) -> Option<StatedType> {
    let tensor = proto?.tensor_type.as_ref()?;
    let dim = |(i, d): (usize, &Dimension)| match (d.dim_value, &d.dim_param) {
        (Some(n), _) if n > 0 => usize::try_from(n).ok().map(Dim::Known),
        (None, Some(s)) if !s.is_empty() => Some(Dim::Symbol(s.clone())),
        // Exporters write 0 and negative sizes for open ones.
        _ => Some(Dim::Symbol(format!("{name}_dim{i}"))),
    };
    let shape = tensor
        .shape
        .as_ref()
        .and_then(|s| s.dim.iter().enumerate().map(dim).collect());
    Some(StatedType {
        code: tensor.elem_type,
        dtype: dtype(tensor.elem_type),
        shape,
    })
}

fn shape_proto(shape: &Shape) -> TensorShapeProto {
    let dim = |d: &Dim| match d {
        Dim::Known(n) => Dimension {
            dim_value: Some(*n as i64),
            ..Dimension::default()
        },
        Dim::Symbol(s) => Dimension {
            dim_param: Some(s.clone()),
            ..Dimension::default()
        },
    };
    TensorShapeProto {
        dim: shape.iter().map(dim).collect(),
    }
}

/// Encodes name and type of a value; `None` if its element type is unknown.
pub(crate) fn value_info(value: &Value) -> Option<ValueInfoProto> {
    let tensor = TensorType {
        elem_type: code(value.dtype?),
        shape: value.shape.as_ref().map(shape_proto),
    };
    Some(ValueInfoProto {
        name: value.name.clone(),
        r#type: Some(TypeProto {
            tensor_type: Some(tensor),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    })
}
