//! ONNX bytes to a graph.

mod attend;
mod attention;
mod attribute;
mod branches;
mod budget;
mod build;
mod composed;
mod constants;
mod contrib;
mod draft;
mod elements;
mod ends;
mod expand;
mod forms;
mod functions;
mod fused;
mod groups;
mod joins;
mod order;
mod own_sizes;
mod plain;
mod qlinear;
mod rewrite;
mod sequences;
mod sparse;
mod tensor;
#[cfg(test)]
mod tests;
mod unshare;

pub use composed::composed_operators;

use prost::Message;
use prost::bytes::{Buf, Bytes};

use crate::external::ExternalData;
use crate::input_size::InputSize;
use crate::open_inputs;
use crate::proto::ModelProto;
use crate::{Graph, GraphError};

/// Reads an ONNX model.
///
/// Reading normalises the model:
/// - Nodes over constants are folded, within limits in proportion to the file. `auto_pad` and
///   constant axes, bounds and targets are resolved into the operators. Identity and Constant
///   nodes over constants disappear, and so do dead nodes.
/// - Biases and normalisation parameters that several layers share are copied for each.
/// - The branch that an If takes replaces it, if its condition follows from constants and known
///   sizes.
/// - Constants of 16-bit floats that are cast to wider floats become these.
/// - Nodes in training mode take their inference form; [`Graph::training`] names them.
/// - An attention in one operator is read as the products and the softmax that it is made of.
/// - Calls of the model's own functions are inlined at the operator sets that the functions
///   import. A function with a subgraph in its body stays, and so do its calls.
/// - Nodes that compute texts, sequences and maps as outputs are carried as they are
///   ([`Graph::other_outputs`]). What they read of the network becomes an output of the graph.
/// - A node without a typed form becomes [`crate::ops::Opaque`].
///
/// Memory is in proportion to the given bytes.
///
/// # Errors
/// - [`GraphError::Decode`] if the bytes are no model.
/// - [`GraphError::Malformed`] or [`GraphError::Unsupported`] with the node or tensor at fault.
/// - [`GraphError::ExternalData`] if `external` does not return a tensor's bytes.
/// - [`GraphError::Shape`] if an operator rejects its inputs.
/// - [`GraphError::Function`] if calls are recursive, expand to too much, or do not fit their
///   function.
pub fn read(bytes: &[u8], external: &dyn ExternalData) -> Result<Graph, GraphError> {
    decode(bytes, external, &[])
}

/// As [`read`], with ownership of the bytes: tensors are copied out of them directly, so that
/// reading takes twice the model's size.
///
/// # Errors
/// As [`read`].
pub fn read_owned(bytes: Vec<u8>, external: &dyn ExternalData) -> Result<Graph, GraphError> {
    read_sized(bytes, external, &[])
}

/// As [`read_owned`], with sizes for inputs that the model leaves open. All stated sizes of the
/// same names are fixed alike, and values that depend on them are folded. An open batch whose
/// size is given as 1 stays open.
///
/// # Errors
/// As [`read`], and [`GraphError::InputSize`] if a size contradicts the model.
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
        open_inputs::fix(graph, sizes)?;
    }
    build::build(model, external)
}
