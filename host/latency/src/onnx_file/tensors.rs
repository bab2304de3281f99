//! The tensors of a model, at any depth.

use super::external::{Extent, ExternalFiles};
use super::fields::{Field, Malformed, Value, bytes_key, fields, put_varint, varint_size};

/// An error of embedding external data.
pub(super) enum Problem {
    /// The bytes are not an ONNX file.
    Malformed,
    /// The data of a tensor cannot be read.
    Data { tensor: String, detail: String },
}

impl From<Malformed> for Problem {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// The messages of `onnx.proto` that can contain tensors.
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
    /// The kind of message in a field, if it can contain tensors.
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

/// The most nested messages, as in protobuf's own parsers.
const DEPTH: u32 = 100;

/// The field numbers of a tensor.
mod field {
    pub const NAME: u64 = 8;
    pub const RAW: u64 = 9;
    pub const EXTERNAL: u64 = 13;
    pub const LOCATION: u64 = 14;
}

/// Returns the size of a model with its external data embedded, or `None` if it has none.
pub(super) fn size(model: &[u8], files: &mut ExternalFiles) -> Result<Option<u64>, Problem> {
    size_of(model, Kind::Model, DEPTH, files)
}

/// Appends a model with its external data embedded.
pub(super) fn write(
    model: &[u8],
    files: &mut ExternalFiles,
    into: &mut Vec<u8>,
) -> Result<(), Problem> {
    write_of(model, Kind::Model, DEPTH, files, into)
}

/// The new size of a message, or `None` if it is unchanged.
fn size_of(
    message: &[u8],
    kind: Kind,
    depth: u32,
    files: &mut ExternalFiles,
) -> Result<Option<u64>, Problem> {
    if let Kind::Tensor = kind {
        return external(message)?
            .map(|tensor| {
                let length = tensor.length(files)?;
                let kept: usize = tensor.kept.iter().map(|part| part.len()).sum();
                let key = varint_size(bytes_key(field::RAW)) + varint_size(length);
                Ok((kept as u64).saturating_add(key).saturating_add(length))
            })
            .transpose();
    }
    let mut total = 0u64;
    let mut changed = false;
    for field in fields(message) {
        let field = field?;
        let new = match below(&field, kind, depth)? {
            Some((inner, kind, depth)) => size_of(inner, kind, depth, files)?,
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
    files: &mut ExternalFiles,
    into: &mut Vec<u8>,
) -> Result<(), Problem> {
    if let Kind::Tensor = kind
        && let Some(tensor) = external(message)?
    {
        tensor
            .kept
            .iter()
            .for_each(|part| into.extend_from_slice(part));
        let length = tensor.length(files)?;
        put_varint(bytes_key(field::RAW), into);
        put_varint(length, into);
        let read = files.read(&tensor.extent, into);
        return read.map_err(|detail| tensor.problem(detail));
    }
    for field in fields(message) {
        let field = field?;
        let changed = match below(&field, kind, depth)? {
            Some((inner, kind, depth)) => {
                size_of(inner, kind, depth, files)?.map(|size| (inner, kind, depth, size))
            }
            None => None,
        };
        match changed {
            None => into.extend_from_slice(field.whole),
            Some((inner, kind, depth, size)) => {
                put_varint(bytes_key(field.number), into);
                put_varint(size, into);
                write_of(inner, kind, depth, files, into)?;
            }
        }
    }
    Ok(())
}

/// A message that can contain tensors: its bytes, its kind, and the depth left below it.
type Nested<'a> = (&'a [u8], Kind, u32);

/// The message in a field, if it can contain tensors.
fn below<'a>(field: &Field<'a>, kind: Kind, depth: u32) -> Result<Option<Nested<'a>>, Problem> {
    match (kind.inside(field.number), &field.value) {
        (Some(inside), Value::Bytes(inner)) => {
            let depth = depth.checked_sub(1).ok_or(Problem::Malformed)?;
            Ok(Some((inner, inside, depth)))
        }
        _ => Ok(None),
    }
}

/// A tensor with external data.
struct External<'a> {
    name: String,
    extent: Extent,
    /// The fields to keep.
    kept: Vec<&'a [u8]>,
}

impl External<'_> {
    fn problem(&self, detail: String) -> Problem {
        Problem::Data {
            tensor: self.name.clone(),
            detail,
        }
    }

    fn length(&self, files: &mut ExternalFiles) -> Result<u64, Problem> {
        files
            .length(&self.extent)
            .map_err(|detail| self.problem(detail))
    }
}

/// Parses a tensor; `None` if its data is inside.
fn external(message: &[u8]) -> Result<Option<External<'_>>, Problem> {
    let mut tensor = External {
        name: String::new(),
        extent: Extent {
            location: String::new(),
            offset: 0,
            length: None,
        },
        kept: Vec::new(),
    };
    let mut is_external = false;
    let mut entries = Vec::new();
    for part in fields(message) {
        let part = part?;
        match (part.number, part.value) {
            (field::LOCATION, Value::Number(number)) => is_external = number == 1,
            (field::EXTERNAL, Value::Bytes(entry)) => entries.push(entry),
            (field::RAW, _) => {}
            (number, value) => {
                if let (field::NAME, Value::Bytes(name)) = (number, value) {
                    tensor.name = String::from_utf8_lossy(name).into_owned();
                }
                tensor.kept.push(part.whole);
            }
        }
    }
    if !is_external {
        return Ok(None);
    }
    for entry in entries {
        let (key, value) = pair(entry)?;
        let number = value.parse::<u64>().map_err(|_| {
            tensor.problem(format!(
                "its {key} is `{value}`, which is not a number of bytes"
            ))
        });
        match key.as_str() {
            "location" => tensor.extent.location = value,
            "offset" => tensor.extent.offset = number?,
            "length" => tensor.extent.length = Some(number?),
            _ => {}
        }
    }
    Ok(Some(tensor))
}

/// Parses an entry of a map from string to string.
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

/// Returns the names of a model's inputs without an initial value.
pub(super) fn input_names(model: &[u8]) -> Result<Vec<String>, Malformed> {
    const GRAPH: u64 = 7;
    const INITIALIZER: u64 = 5;
    const INPUT: u64 = 11;
    const VALUE_NAME: u64 = 1;
    let (mut inputs, mut initial) = (Vec::new(), Vec::new());
    for graph in inside(model, GRAPH)? {
        for tensor in inside(graph, INITIALIZER)? {
            initial.extend(inside(tensor, field::NAME)?);
        }
        for value in inside(graph, INPUT)? {
            inputs.extend(inside(value, VALUE_NAME)?);
        }
    }
    inputs.retain(|name| !initial.contains(name));
    let text = |name: &[u8]| String::from_utf8(name.to_vec()).map_err(|_| Malformed);
    inputs.into_iter().map(text).collect()
}

/// Returns the contents of all fields with a number.
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
