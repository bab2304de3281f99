//! Errors of this crate.

/// What can be wrong with a model. Every variant names the thing it is about.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GraphError {
    /// The bytes are not an ONNX model.
    #[error("not an ONNX model: {reason}")]
    Decode {
        /// What the decoder met.
        reason: String,
    },
    /// A part that ONNX requires is missing or malformed.
    #[error("malformed ONNX model at {place}: {reason}")]
    Malformed {
        /// Node, tensor or field.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A part that ONNX allows and this crate does not handle.
    #[error("unsupported at {place}: {reason}")]
    Unsupported {
        /// Node, tensor or field.
        place: String,
        /// What is not handled, and what to do about it where something can be done.
        reason: String,
    },
    /// A function of the model cannot be put in the place of a call.
    #[error("function '{function}', called by node '{node}': {reason}")]
    Function {
        /// The function: domain, name and overload.
        function: String,
        /// The node that calls it.
        node: String,
        /// Why not.
        reason: String,
    },
    /// A tensor is stored outside the model file and its bytes are not to be had.
    #[error("tensor '{tensor}' is stored outside the model, in '{location}': {reason}")]
    ExternalData {
        /// Name of the tensor.
        tensor: String,
        /// Path as the model states it, relative to the model's folder.
        location: String,
        /// Why the bytes are not to be had.
        reason: String,
    },
    /// The number of elements is not the product of the dimensions.
    #[error("a tensor of dimensions {dims:?} cannot hold {held} elements")]
    TensorSize {
        /// The dimensions.
        dims: Vec<usize>,
        /// The number of elements given.
        held: usize,
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
    /// An operator does not accept the shapes of its inputs.
    #[error("node '{node}' ({op}): {reason}")]
    Shape {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// What does not fit.
        reason: String,
    },
    /// The batch is fixed, and a node cannot follow an open one.
    #[error("the batch is fixed at {batch} and cannot be opened at '{node}' ({op}): {reason}")]
    FixedBatch {
        /// What it is fixed at.
        batch: usize,
        /// The node, input or output.
        node: String,
        /// Its operator.
        op: String,
        /// Why it cannot follow.
        reason: String,
    },
    /// A size given for an input does not fit the model.
    #[error(transparent)]
    InputSize(Box<crate::InputSizeError>),
    /// Two values or nodes share a name.
    #[error("the name '{name}' is used twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A node reads a value that nothing before it produces.
    #[error("'{node}' reads '{value}', which nothing before it produces")]
    NotReady {
        /// The reader.
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
        /// The node it is anchored at.
        node: String,
        /// What does not fit.
        reason: String,
    },
}

impl From<crate::InputSizeError> for GraphError {
    fn from(error: crate::InputSizeError) -> Self {
        Self::InputSize(Box::new(error))
    }
}
