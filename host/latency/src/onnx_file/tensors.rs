//! The tensors of a model, wherever in it they stand.

use super::beside::{Beside, Extent};
use super::fields::{Field, Malformed, Value, bytes_key, fields, put_varint, varint_size};

/// Why a model cannot be made self-contained.
pub(super) enum Problem {
    /// It is no ONNX file.
    Malformed,
    /// A tensor's data is not to be had.
    Data { tensor: String, detail: String },
}

impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The messages of `onnx.proto` below which tensors stand.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Training,
    Function,
    Graph,
    Node,
    Attribute,
    Sparse,
    Tensor,
}

impl Kind {
    /// What a field holds below which there can be tensors.
    fn inside(self, field: u64) -> Option<Self> {
        Some(match (self, field) {
            (Self::Model, 7) | (Self::Training, 1 | 2) | (Self::Attribute, 6 | 11) => Self::Graph,
            (Self::Model, 20) => Self::Training,
            (Self::Model, 25) => Self::Function,
            (Self::Function, 7) | (Self::Graph, 1) => Self::Node,
            (Self::Function, 11) | (Self::Node, 5) => Self::Attribute,
            (Self::Graph, 5) | (Self::Attribute, 5 | 10) | (Self::Sparse, 1 | 2) => Self::Tensor,
            (Self::Graph, 15) | (Self::Attribute, 22 | 23) => Self::Sparse,
            _ => return None,
        })
    }
}

/// How deep messages are followed, as protobuf's own readers do.
const DEPTH: u32 = 100;

/// The fields of a tensor.
mod tensor {
    pub const NAME: u64 = 8;
    pub const RAW: u64 = 9;
    pub const EXTERNAL: u64 = 13;
    pub const LOCATION: u64 = 14;
}

/// The size of a model with its external data inside; `None` when it has none.
pub(super) fn size(model: &[u8], beside: &mut Beside) -> Result<Option<u64>, Problem> {
    size_of(model, Kind::Model, DEPTH, beside)
}

/// Appends a model with its external data inside.
pub(super) fn write(model: &[u8], beside: &mut Beside, into: &mut Vec<u8>) -> Result<(), Problem> {
    write_of(model, Kind::Model, DEPTH, beside, into)
}

/// The new size of a message; `None` when it stays as it is.
fn size_of(
    message: &[u8],
    kind: Kind,
    depth: u32,
    beside: &mut Beside,
) -> Result<Option<u64>, Problem> {
    if let Kind::Tensor = kind {
        return external(message)?
            .map(|found| {
                let length = found.length(beside)?;
                let kept: usize = found.kept.iter().map(|part| part.len()).sum();
                let key = varint_size(bytes_key(tensor::RAW)) + varint_size(length);
                Ok((kept as u64).saturating_add(key).saturating_add(length))
            })
            .transpose();
    }
    let mut total = 0u64;
    let mut changed = false;
    for field in fields(message) {
        let field = field?;
        let new = match below(&field, kind, depth)? {
            Some((inner, kind, depth)) => size_of(inner, kind, depth, beside)?,
            None => None,
        };
        changed |= new.is_some();
        total = total.saturating_add(new.map_or(field.whole.len() as u64, |size| {
            let key = varint_size(bytes_key(field.number)) + varint_size(size);
            size.saturating_add(key)
        }));
    }
    Ok(changed.then_some(total))
}

fn write_of(
    message: &[u8],
    kind: Kind,
    depth: u32,
    beside: &mut Beside,
    into: &mut Vec<u8>,
) -> Result<(), Problem> {
    if let Kind::Tensor = kind
        && let Some(found) = external(message)?
    {
        found
            .kept
            .iter()
            .for_each(|part| into.extend_from_slice(part));
        let length = found.length(beside)?;
        put_varint(bytes_key(tensor::RAW), into);
        put_varint(length, into);
        let read = beside.read(&found.extent, into);
        return read.map_err(|detail| found.problem(detail));
    }
    for field in fields(message) {
        let field = field?;
        let changed = match below(&field, kind, depth)? {
            Some((inner, kind, depth)) => {
                size_of(inner, kind, depth, beside)?.map(|size| (inner, kind, depth, size))
            }
            None => None,
        };
        match changed {
            None => into.extend_from_slice(field.whole),
            Some((inner, kind, depth, size)) => {
                put_varint(bytes_key(field.number), into);
                put_varint(size, into);
                write_of(inner, kind, depth, beside, into)?;
            }
        }
    }
    Ok(())
}

/// A message in which tensors can stand: its bytes, what it is, and how deep it lies.
type Part<'a> = (&'a [u8], Kind, u32);

/// The message in a field, if tensors can stand below it.
fn below<'a>(field: &Field<'a>, kind: Kind, depth: u32) -> Result<Option<Part<'a>>, Problem> {
    match (kind.inside(field.number), &field.value) {
        (Some(inside), Value::Bytes(inner)) => {
            let depth = depth.checked_sub(1).ok_or(Problem::Malformed)?;
            Ok(Some((inner, inside, depth)))
        }
        _ => Ok(None),
    }
}

/// A tensor whose data is elsewhere.
struct External<'a> {
    name: String,
    extent: Extent,
    /// The fields that stay.
    kept: Vec<&'a [u8]>,
}

impl External<'_> {
    fn problem(&self, detail: String) -> Problem {
        Problem::Data {
            tensor: self.name.clone(),
            detail,
        }
    }

    fn length(&self, beside: &mut Beside) -> Result<u64, Problem> {
        beside
            .length(&self.extent)
            .map_err(|detail| self.problem(detail))
    }
}

/// The tensor, if its data is elsewhere.
fn external(message: &[u8]) -> Result<Option<External<'_>>, Problem> {
    let mut found = External {
        name: String::new(),
        extent: Extent {
            location: String::new(),
            offset: 0,
            length: None,
        },
        kept: Vec::new(),
    };
    let mut elsewhere = false;
    let mut entries = Vec::new();
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (tensor::LOCATION, Value::Number(number)) => elsewhere = number == 1,
            (tensor::EXTERNAL, Value::Bytes(entry)) => entries.push(entry),
            (tensor::RAW, _) => {}
            (number, value) => {
                if let (tensor::NAME, Value::Bytes(name)) = (number, value) {
                    found.name = String::from_utf8_lossy(name).into_owned();
                }
                found.kept.push(field.whole);
            }
        }
    }
    if !elsewhere {
        return Ok(None);
    }
    for entry in entries {
        let (key, value) = pair(entry)?;
        let number = value.parse::<u64>().map_err(|_| {
            found.problem(format!(
                "its {key} is `{value}`, which is no number of bytes"
            ))
        });
        match key.as_str() {
            "location" => found.extent.location = value,
            "offset" => found.extent.offset = number?,
            "length" => found.extent.length = Some(number?),
            _ => {}
        }
    }
    Ok(Some(found))
}

/// An entry of a map of texts.
fn pair(entry: &[u8]) -> Result<(String, String), Problem> {
    let mut both = (String::new(), String::new());
    for field in fields(entry) {
        let field = field?;
        if let Value::Bytes(text) = field.value {
            let text = String::from_utf8(text.to_vec()).map_err(|_| Problem::Malformed)?;
            match field.number {
                1 => both.0 = text,
                2 => both.1 = text,
                _ => {}
            }
        }
    }
    Ok(both)
}

/// The names of a model's inputs that have no initial value.
pub(super) fn input_names(model: &[u8]) -> Result<Vec<String>, Malformed> {
    const GRAPH: u64 = 7;
    const INITIALIZER: u64 = 5;
    const INPUT: u64 = 11;
    const VALUE_NAME: u64 = 1;
    let (mut inputs, mut initial) = (Vec::new(), Vec::new());
    for graph in inside(model, GRAPH)? {
        for tensor in inside(graph, INITIALIZER)? {
            initial.extend(inside(tensor, tensor::NAME)?);
        }
        for value in inside(graph, INPUT)? {
            inputs.extend(inside(value, VALUE_NAME)?);
        }
    }
    inputs.retain(|name| !initial.contains(name));
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).map_err(|_| Malformed);
    inputs.into_iter().map(text).collect()
}

/// The contents of all fields of a number.
fn inside(message: &[u8], number: u64) -> Result<Vec<&[u8]>, Malformed> {
    let mut all = Vec::new();
    for field in fields(message) {
        let field = field?;
        if let (true, Value::Bytes(bytes)) = (field.number == number, field.value) {
            all.push(bytes);
        }
    }
    Ok(all)
}
