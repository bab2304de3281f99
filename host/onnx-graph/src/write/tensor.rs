//! Tensors and the message that contains them.

use std::ops::Range;

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint, key_len};

use crate::proto::{GraphProto, ModelProto, TensorProto};
use crate::types::code;
use crate::{Tensor, TensorData};

/// Most bytes of a protobuf message.
const MOST_BYTES: usize = i32::MAX as usize;

/// A tensor to write: its message without the elements, which are copied only into the output.
pub(super) struct Initializer<'a> {
    head: Vec<u8>,
    tensor: &'a Tensor,
}

/// Numbers of the fields that are encoded here.
const GRAPH: u32 = 7;
const INITIALIZER: u32 = 5;
const RAW_DATA: u32 = 9;

/// Bytes of a field with `len` bytes of content.
fn field_len(number: u32, len: usize) -> usize {
    key_len(number) + encoded_len_varint(len as u64) + len
}

fn open_field(number: u32, len: usize, out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(len as u64, out);
}

impl<'a> Initializer<'a> {
    pub fn new(name: &str, tensor: &'a Tensor) -> Self {
        let head = TensorProto {
            dims: tensor.dims().iter().map(|&d| d as i64).collect(),
            data_type: code(tensor.dtype()),
            name: name.to_owned(),
            ..TensorProto::default()
        };
        Self {
            head: head.encode_to_vec(),
            tensor,
        }
    }

    fn raw_len(&self) -> usize {
        let dtype = self.tensor.dtype();
        dtype.bytes(self.tensor.len()).unwrap_or(usize::MAX)
    }

    fn len(&self) -> usize {
        self.head.len() + field_len(RAW_DATA, self.raw_len())
    }

    /// Appends the message and returns where its elements are.
    fn append(&self, out: &mut Vec<u8>) -> Range<usize> {
        open_field(INITIALIZER, self.len(), out);
        out.extend_from_slice(&self.head);
        open_field(RAW_DATA, self.raw_len(), out);
        let start = out.len();
        append_raw(self.tensor, out);
        start..out.len()
    }
}

/// Encodes `model` with `graph` and its initialisers, and returns the bytes of each one's elements;
/// `None` if the message is too large.
pub(super) fn encode(
    model: &ModelProto,
    graph: &GraphProto,
    initializers: Vec<Initializer<'_>>,
) -> Option<(Vec<u8>, Vec<Range<usize>>)> {
    let rest = graph.encode_to_vec();
    let tensors = initializers.iter().map(|t| field_len(INITIALIZER, t.len()));
    let graph_len = tensors.fold(rest.len(), usize::saturating_add);
    let whole = model
        .encoded_len()
        .saturating_add(field_len(GRAPH, graph_len));
    if whole > MOST_BYTES {
        return None;
    }
    let mut out = Vec::with_capacity(whole);
    model.encode_raw(&mut out);
    open_field(GRAPH, graph_len, &mut out);
    out.extend_from_slice(&rest);
    let ranges = initializers.iter().map(|of| of.append(&mut out)).collect();
    Some((out, ranges))
}

/// Two integers of four bits in a byte, the first one in the lower half.
fn halves(pair: &[u8]) -> u8 {
    pair[0] & 15 | pair.get(1).map_or(0, |&second| second << 4)
}

/// Appends the elements in the encoding of `raw_data`.
fn append_raw(tensor: &Tensor, out: &mut Vec<u8>) {
    fn each<const N: usize, T: Copy>(list: &[T], out: &mut Vec<u8>, bytes: impl Fn(T) -> [u8; N]) {
        list.iter().for_each(|&x| out.extend_from_slice(&bytes(x)));
    }
    match tensor.data() {
        TensorData::F32(v) => each(v, out, f32::to_le_bytes),
        TensorData::F64(v) => each(v, out, f64::to_le_bytes),
        TensorData::I64(v) => each(v, out, i64::to_le_bytes),
        TensorData::F16(v) | TensorData::BF16(v) | TensorData::U16(v) => {
            each(v, out, u16::to_le_bytes);
        }
        TensorData::I32(v) => each(v, out, i32::to_le_bytes),
        TensorData::I16(v) => each(v, out, i16::to_le_bytes),
        TensorData::U64(v) => each(v, out, u64::to_le_bytes),
        TensorData::U32(v) => each(v, out, u32::to_le_bytes),
        TensorData::U8(v) => out.extend_from_slice(v),
        TensorData::I8(v) => each(v, out, i8::to_le_bytes),
        TensorData::U4(v) => out.extend(v.chunks(2).map(halves)),
        TensorData::I4(v) => {
            let bytes: Vec<u8> = v.iter().map(|x| x.cast_unsigned()).collect();
            out.extend(bytes.chunks(2).map(halves));
        }
        TensorData::Bool(v) => each(v, out, |x| [u8::from(x)]),
    }
}

/// A tensor message.
pub(super) fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    let mut raw = Vec::new();
    append_raw(tensor, &mut raw);
    TensorProto {
        dims: tensor.dims().iter().map(|&d| d as i64).collect(),
        data_type: code(tensor.dtype()),
        name: name.to_owned(),
        raw_data: Some(raw.into()),
        ..TensorProto::default()
    }
}
