//! Tensors of the file.

use std::borrow::Cow;
use std::fmt::Display;

use crate::external::{ExternalData, escapes};
use crate::proto::TensorProto;
use crate::types::{dtype, unsupported};
use crate::{DType, GraphError, Tensor, TensorData};

/// Reads a tensor; messages call it `name`.
pub(super) fn tensor(
    proto: &TensorProto,
    name: &str,
    external: &dyn ExternalData,
) -> Result<Tensor, GraphError> {
    let Some(dtype) = dtype(proto.data_type) else {
        return Err(GraphError::Unsupported {
            place: format!("tensor '{name}'"),
            reason: unsupported(proto.data_type),
        });
    };
    let layout = Layout::of(proto, name, dtype.bits())?;
    let data = match stored(proto, name, &layout, external)? {
        Some(data) => raw(dtype, &data, layout.count),
        None => typed(proto, dtype, layout.count),
    };
    let malformed = |reason| malformed(name, reason);
    Tensor::new(layout.dims, data.map_err(malformed)?).map_err(|e| malformed(e.to_string()))
}

fn malformed(name: &str, reason: String) -> GraphError {
    GraphError::Malformed {
        place: format!("tensor '{name}'"),
        reason,
    }
}

/// What the dimensions and the element type of a tensor determine.
struct Layout {
    dims: Vec<usize>,
    /// The number of elements.
    count: usize,
    bytes: usize,
}

impl Layout {
    fn of(proto: &TensorProto, name: &str, bits: usize) -> Result<Self, GraphError> {
        let dims = proto.dims.iter().map(|&d| usize::try_from(d).ok());
        let dims: Vec<usize> = dims.collect::<Option<_>>().ok_or_else(|| {
            let reason = format!("negative dimension in {:?}", proto.dims);
            malformed(name, reason)
        })?;
        let count = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let bytes = count.and_then(|n| Some(n.checked_mul(bits)?.div_ceil(8)));
        match (count, bytes) {
            (Some(count), Some(bytes)) => Ok(Self { dims, count, bytes }),
            _ => Err(malformed(name, format!("{dims:?} is too large"))),
        }
    }
}

/// The bytes of a tensor, if they are stored as such.
fn stored<'p>(
    proto: &'p TensorProto,
    name: &str,
    layout: &Layout,
    external: &dyn ExternalData,
) -> Result<Option<Cow<'p, [u8]>>, GraphError> {
    if proto.data_location == 1 {
        return Ok(Some(load(proto, name, layout.bytes, external)?.into()));
    }
    Ok(proto.raw_data.as_ref().map(|data| Cow::Borrowed(&**data)))
}

fn load(
    proto: &TensorProto,
    name: &str,
    bytes: usize,
    external: &dyn ExternalData,
) -> Result<Vec<u8>, GraphError> {
    let field = |key: &str| {
        proto
            .external_data
            .iter()
            .find(|e| e.key == key)
            .map(|e| e.value.as_str())
    };
    let location = field("location").unwrap_or_default().to_owned();
    let fail = |reason: String| GraphError::ExternalData {
        tensor: name.to_owned(),
        location: location.clone(),
        reason,
    };
    if let Some(reason) = escapes(&location) {
        return Err(fail(format!("the path {reason}")));
    }
    let number = |key: &str| match field(key) {
        None => Ok(None),
        Some(text) => text
            .trim()
            .parse::<u64>()
            .map(Some)
            .map_err(|_| fail(format!("its {key} is '{text}'"))),
    };
    let expected = bytes as u64;
    let offset = number("offset")?.unwrap_or(0);
    if number("length")?.is_some_and(|stated| stated != expected) {
        return Err(fail(format!(
            "its length is not the {expected} bytes of its dimensions"
        )));
    }
    let data = external.load(&location, offset, expected).map_err(&fail)?;
    if data.len() != bytes {
        return Err(fail(format!(
            "{} bytes were handed in, {expected} are needed",
            data.len()
        )));
    }
    Ok(data)
}

/// The four-bit halves of bytes, the lower one first
/// ([encoding](https://onnx.ai/onnx/technical/int4.html)). An odd count leaves a half unused.
fn halves<T>(bytes: impl Iterator<Item = u8>, count: usize, from: impl Fn(u8) -> T) -> Vec<T> {
    let halves = bytes.flat_map(|b| [b & 15, b >> 4]);
    halves.take(count).map(from).collect()
}

/// A four-bit integer in two's complement.
fn signed(half: u8) -> i8 {
    (half << 4).cast_signed() >> 4
}

/// Checks that bytes are a whole number of elements.
fn whole(data: &[u8], bits: usize) -> Result<(), String> {
    if !(data.len() * 8).is_multiple_of(bits) {
        return Err(format!(
            "{} bytes are no whole number of elements",
            data.len()
        ));
    }
    Ok(())
}

fn each<const N: usize, T>(data: &[u8], from: impl Fn([u8; N]) -> T) -> Vec<T> {
    data.as_chunks::<N>().0.iter().map(|&c| from(c)).collect()
}

/// Small elements. The file holds each in a larger integer.
fn narrow<F: Copy + Display, T: TryFrom<F>>(list: &[F]) -> Result<Vec<T>, String> {
    list.iter()
        .map(|&v| T::try_from(v).map_err(|_| format!("the element {v} is out of range")))
        .collect()
}

fn raw(dtype: DType, data: &[u8], count: usize) -> Result<TensorData, String> {
    whole(data, dtype.bits())?;
    Ok(match dtype {
        DType::F32 => TensorData::F32(each(data, f32::from_le_bytes)),
        DType::F64 => TensorData::F64(each(data, f64::from_le_bytes)),
        DType::I64 => TensorData::I64(each(data, i64::from_le_bytes)),
        DType::F16 => TensorData::F16(each(data, u16::from_le_bytes)),
        DType::BF16 => TensorData::BF16(each(data, u16::from_le_bytes)),
        DType::I32 => TensorData::I32(each(data, i32::from_le_bytes)),
        DType::I16 => TensorData::I16(each(data, i16::from_le_bytes)),
        DType::U64 => TensorData::U64(each(data, u64::from_le_bytes)),
        DType::U32 => TensorData::U32(each(data, u32::from_le_bytes)),
        DType::U16 => TensorData::U16(each(data, u16::from_le_bytes)),
        DType::U8 => TensorData::U8(data.to_vec()),
        DType::I8 => TensorData::I8(each(data, i8::from_le_bytes)),
        DType::U4 => TensorData::U4(halves(data.iter().copied(), count, |h| h)),
        DType::I4 => TensorData::I4(halves(data.iter().copied(), count, signed)),
        DType::Bool => TensorData::Bool(data.iter().map(|&b| b != 0).collect()),
    })
}

fn typed(proto: &TensorProto, dtype: DType, count: usize) -> Result<TensorData, String> {
    Ok(match dtype {
        DType::F32 => TensorData::F32(proto.float_data.clone()),
        DType::F64 => TensorData::F64(proto.double_data.clone()),
        DType::I64 => TensorData::I64(proto.int64_data.clone()),
        DType::F16 => TensorData::F16(narrow(&proto.int32_data)?),
        DType::BF16 => TensorData::BF16(narrow(&proto.int32_data)?),
        DType::I32 => TensorData::I32(proto.int32_data.clone()),
        DType::I16 => TensorData::I16(narrow(&proto.int32_data)?),
        DType::U64 => TensorData::U64(proto.uint64_data.clone()),
        DType::U32 => TensorData::U32(narrow(&proto.uint64_data)?),
        DType::U16 => TensorData::U16(narrow(&proto.int32_data)?),
        DType::U8 => TensorData::U8(narrow(&proto.int32_data)?),
        DType::I8 => TensorData::I8(narrow(&proto.int32_data)?),
        DType::U4 => TensorData::U4(halves(
            narrow::<i32, u8>(&proto.int32_data)?.into_iter(),
            count,
            |h| h,
        )),
        DType::I4 => TensorData::I4(halves(
            narrow::<i32, u8>(&proto.int32_data)?.into_iter(),
            count,
            signed,
        )),
        DType::Bool => TensorData::Bool(proto.int32_data.iter().map(|&v| v != 0).collect()),
    })
}
