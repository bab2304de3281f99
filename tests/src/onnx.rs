//! ONNX files written field by field, for content that this workspace's own writer does not
//! produce.

/// Returns a field of bytes.
#[must_use]
pub fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    let mut field = Vec::new();
    varint(&mut field, number << 3 | 2);
    varint(&mut field, content.len() as u64);
    field.extend_from_slice(content);
    field
}

/// Returns a field with a number.
#[must_use]
pub fn number(field: u64, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    varint(&mut out, field << 3);
    varint(&mut out, value);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Returns a model of opset 17 with this graph.
#[must_use]
pub fn model(graph: &[u8]) -> Vec<u8> {
    let opset = bytes(8, &number(2, 17));
    [number(1, 8), opset, bytes(7, graph)].concat()
}

/// Returns the `graph` attribute `name` of a node.
#[must_use]
pub fn graph_attribute(name: &str, graph: &[u8]) -> Vec<u8> {
    let parts = [bytes(1, name.as_bytes()), bytes(6, graph), number(20, 5)];
    bytes(5, &parts.concat())
}

/// Returns the `tensor` attribute `name` of a node.
#[must_use]
pub fn tensor_attribute(name: &str, tensor: &[u8]) -> Vec<u8> {
    let parts = [bytes(1, name.as_bytes()), bytes(5, tensor), number(20, 4)];
    bytes(5, &parts.concat())
}

/// Returns an integer attribute of a node.
#[must_use]
pub fn integer_attribute(name: &str, value: u64) -> Vec<u8> {
    let parts = [bytes(1, name.as_bytes()), number(3, value), number(20, 2)];
    bytes(5, &parts.concat())
}

/// Returns a node of a graph.
#[must_use]
pub fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut parts: Vec<u8> = inputs.iter().flat_map(|i| bytes(1, i.as_bytes())).collect();
    parts.extend(bytes(2, output.as_bytes()));
    parts.extend(bytes(3, output.as_bytes()));
    parts.extend(bytes(4, op.as_bytes()));
    parts.extend(attributes.concat());
    bytes(1, &parts)
}

/// Where a tensor's data is.
pub enum Data<'a> {
    /// In the model.
    Inside(&'a [u8]),
    /// In a file: its name, the offset, and the length in bytes.
    Outside(&'a str, usize, usize),
}

/// Returns a tensor; `element` is ONNX's number of its element type.
#[must_use]
pub fn tensor(name: &str, element: u64, dims: &[u64], data: &Data<'_>) -> Vec<u8> {
    let mut parts: Vec<u8> = dims.iter().flat_map(|&dim| number(1, dim)).collect();
    parts.extend(number(2, element));
    parts.extend(bytes(8, name.as_bytes()));
    match data {
        Data::Inside(content) => parts.extend(bytes(9, content)),
        Data::Outside(file, offset, length) => {
            let offset = offset.to_string();
            let length = length.to_string();
            for (key, value) in [
                ("location", *file),
                ("offset", &offset),
                ("length", &length),
            ] {
                let entry = [bytes(1, key.as_bytes()), bytes(2, value.as_bytes())];
                parts.extend(bytes(13, &entry.concat()));
            }
            parts.extend(number(14, 1));
        }
    }
    parts
}

/// Returns the type of an input (field 11 of a graph) or an output (field 12): its element type
/// and its sizes, a name for an open one.
#[must_use]
pub fn value(field: u64, name: &str, element: u64, dims: &[Result<u64, &str>]) -> Vec<u8> {
    let dims = dims.iter().flat_map(|dim| {
        let dim = match dim {
            Ok(size) => number(1, *size),
            Err(symbol) => bytes(2, symbol.as_bytes()),
        };
        bytes(1, &dim)
    });
    let shape = bytes(2, &dims.collect::<Vec<u8>>());
    let kind = bytes(1, &[number(1, element), shape].concat());
    bytes(
        field,
        &[bytes(1, name.as_bytes()), bytes(2, &kind)].concat(),
    )
}
