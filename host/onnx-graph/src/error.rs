//! Errors of this crate.

use crate::input_size::InputSizeError;

/// Faults of a model, each with the place where it occurs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    Decode {
        /// Message of the decoder.
        reason: String,
    },
    /// A required part is missing or malformed.
    #[error("malformed ONNX model at {place}: {reason}")]
    Malformed {
        /// Node, tensor or field.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A part is valid ONNX that this crate does not handle.
    #[error("unsupported at {place}: {reason}")]
    Unsupported {
        /// Node, tensor or field.
        place: String,
        /// What is not handled, with a remedy if there is one.
        reason: String,
    },
    /// A function of the model cannot be inlined at a call.
    #[error("function '{function}', called by node '{node}': {reason}")]
    Function {
        /// The function: domain, name and overload.
        function: String,
        /// The node that calls it.
        node: String,
        /// Why not.
        reason: String,
    },
    /// The bytes of a tensor that is stored outside the model file are not available.
    #[error("tensor '{tensor}' is stored outside the model, in '{location}': {reason}")]
    ExternalData {
        /// Name of the tensor.
        tensor: String,
        /// Path as stated in the model, relative to its folder.
        location: String,
        /// Why the bytes are not available.
        reason: String,
    },
    /// The number of elements is not the product of the dimensions.
    #[error("a tensor of dimensions {dims:?} cannot hold {held} elements")]
    TensorSize {
        /// The dimensions.
        dims: Vec<usize>,
        /// The number of elements.
        held: usize,
    },
    /// Scales do not apply to a tensor of integers.
    #[error(
        "{scales} scales do not apply to a tensor of dimensions {dims:?}: one for the tensor or one per index of an \
         axis is needed, each finite and positive, and integers of at most 32 bits"
    )]
    Scaling {
        /// The dimensions of the tensor.
        dims: Vec<usize>,
        /// The number of scales.
        scales: usize,
    },
    /// An axis is out of range.
    #[error("axis {axis} is out of range for rank {rank}")]
    Axis {
        /// The axis.
        axis: usize,
        /// The rank.
        rank: usize,
    },
    /// An index is out of range.
    #[error("index {index} is out of range for size {size}")]
    Index {
        /// The index.
        index: usize,
        /// The size of the axis.
        size: usize,
    },
    /// An operator rejects the shapes of its inputs.
    #[error("node '{node}' ({op}): {reason}")]
    Shape {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What does not fit.
        reason: String,
    },
    /// The batch is fixed, and a node prevents opening it.
    #[error("the batch is fixed at {batch} and cannot be opened at '{node}' ({op}): {reason}")]
    FixedBatch {
        /// The fixed batch size.
        batch: usize,
        /// The node, input or output.
        node: String,
        /// Its operator.
        op: String,
        /// Why it cannot take an open batch.
        reason: String,
    },
    /// A node runs along the first axis, which then is no batch.
    #[error(
        "the batch is fixed at {batch} and cannot be opened at '{node}' ({op}): it runs along the images of the batch"
    )]
    AlongBatch {
        /// The fixed size.
        batch: usize,
        /// The node.
        node: String,
        /// Its operator.
        op: String,
    },
    /// A size given for an input does not fit the model.
    #[error(transparent)]
    InputSize(Box<InputSizeError>),
    /// Two values or nodes share a name.
    #[error("the name '{name}' is used twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A node reads a value that nothing before it produces.
    #[error("'{node}' reads '{value}', which nothing before it produces")]
    NotReady {
        /// The node.
        node: String,
        /// The value.
        value: String,
    },
    /// A value has two producers.
    #[error("'{value}' is produced twice")]
    TwoProducers {
        /// The value.
        value: String,
    },
    /// A node has no first output.
    #[error("node '{node}' has no output")]
    NoOutput {
        /// The node.
        node: String,
    },
    /// A value that should be constant is not.
    #[error("'{value}' is not a constant")]
    NotConstant {
        /// The value.
        value: String,
    },
    /// A patch does not fit the graph it is applied to.
    #[error("patch on '{node}': {reason}")]
    Patch {
        /// The node at which it is anchored.
        node: String,
        /// What does not fit.
        reason: String,
    },
}

impl From<InputSizeError> for GraphError {
    fn from(error: InputSizeError) -> Self {
        Self::InputSize(Box::new(error))
    }
}
