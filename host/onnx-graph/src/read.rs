//! ONNX bytes to a graph.

mod attribute;
mod build;
mod expand;
mod functions;
mod tensor;
#[cfg(test)]
mod tests;
mod unshare;

pub(crate) use tensor::dtype;

use prost::Message;
use prost::bytes::{Buf, Bytes};

use crate::external::ExternalData;
use crate::graph::{Dim, Shape};
use crate::input_sizes::{self, InputSize};
use crate::proto::{ModelProto, TypeProto};
use crate::{DType, Graph, GraphError};

/// Reads an ONNX model.
///
/// What the graph computes of constants is computed, within limits in proportion to the file; `auto_pad`, axes, bounds and targets that
/// are constant are resolved into the operators; Identity and Constant nodes over constants disappear; biases and
/// normalisation parameters that several layers share become one each; what nothing reads is dropped. A node without a typed form is
/// kept as [`crate::ops::Opaque`]. Nodes in training mode are read as they are at inference, and [`Graph::training`] names
/// them. Calls of the model's own functions are replaced by the functions' bodies, read at the operator sets that the
/// functions import; a function with a subgraph in its body stays, and so do its calls.
///
/// # Errors
/// [`GraphError::Decode`] when the bytes are no model, [`GraphError::Malformed`] and [`GraphError::Unsupported`] naming
/// the node or tensor at fault, [`GraphError::ExternalData`] when `external` does not give a tensor's bytes,
/// [`GraphError::Shape`] when an operator does not accept its inputs, [`GraphError::Function`] when the calls of a function go in a
/// circle or come to too much, or do not fit it. It never panics, and takes memory in proportion
/// to the bytes given.
pub fn read(bytes: &[u8], external: &dyn ExternalData) -> Result<Graph, GraphError> {
    decode(bytes, external, &[])
}

/// As [`read`], of bytes that are given away: tensors are then taken out of them without a copy in between, so that a model
/// takes twice its size while it is read.
///
/// # Errors
/// As [`read`].
pub fn read_owned(bytes: Vec<u8>, external: &dyn ExternalData) -> Result<Graph, GraphError> {
    read_sized(bytes, external, &[])
}

/// As [`read_owned`], with sizes for inputs that the model leaves open. Sizes of the same names elsewhere in the file are fixed alike,
/// and what the model computes of them is computed. A batch that the model leaves open stays open where its size is given as 1.
///
/// # Errors
/// As [`read`], and [`GraphError::InputSize`] where a size contradicts the model.
pub fn read_sized(
    bytes: Vec<u8>,
    external: &dyn ExternalData,
    sizes: &[InputSize],
) -> Result<Graph, GraphError> {
    decode(Bytes::from(bytes), external, sizes)
}

fn decode(
    bytes: impl Buf,
    external: &dyn ExternalData,
    sizes: &[InputSize],
) -> Result<Graph, GraphError> {
    let mut model = ModelProto::decode(bytes).map_err(|e| GraphError::Decode {
        reason: e.to_string(),
    })?;
    if let Some(graph) = &mut model.graph {
        input_sizes::fix(graph, sizes)?;
    }
    build::build(model, external)
}

/// Element type number and shape of a tensor type. Sizes left open and nameless are named after `name`.
pub(crate) fn tensor_type(
    proto: Option<&TypeProto>,
    name: &str,
) -> Option<(i32, Option<DType>, Option<Shape>)> {
    let tensor = proto?.tensor_type.as_ref()?;
    let dim = |(i, d): (usize, &crate::proto::Dimension)| match (d.dim_value, &d.dim_param) {
        (Some(n), _) if n > 0 => usize::try_from(n).ok().map(Dim::Known),
        (None, Some(s)) if !s.is_empty() => Some(Dim::Symbol(s.clone())),
        // Exporters write 0 and negative sizes for ones left open.
        _ => Some(Dim::Symbol(format!("{name}_dim{i}"))),
    };
    let shape = tensor
        .shape
        .as_ref()
        .and_then(|s| s.dim.iter().enumerate().map(dim).collect());
    Some((tensor.elem_type, tensor::dtype(tensor.elem_type), shape))
}
