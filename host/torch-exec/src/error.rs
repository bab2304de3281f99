//! Errors of this crate.

use tch::TchError;

/// Errors of compiling and running a graph. Every variant names its subject.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The graph contains an operator that this crate can't run.
    #[error(
        "node '{node}': the operator {op} can't be trained or evaluated here; fold it away or replace it before exporting the model"
    )]
    Unsupported {
        /// The node.
        node: String,
        /// Its operator, as ONNX names it.
        op: String,
    },
    /// The operator is supported, but not in this form.
    #[error("node '{node}' ({op}): {reason}")]
    Form {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// The unsupported or inconsistent part.
        reason: String,
    },
    /// The graph has no input that is not a constant, or several whose sizes are not all known.
    #[error(
        "a network must have an input, and several of them must be of known sizes; this one has {count}: {names:?}"
    )]
    Inputs {
        /// Number of inputs.
        count: usize,
        /// Their names.
        names: Vec<String>,
    },
    /// An input has elements of a type that a batch of floats cannot hold.
    #[error(
        "the input '{name}' is of {dtype:?}; libtorch runs networks over 32-bit floats, integers and booleans here"
    )]
    InputType {
        /// Its name.
        name: String,
        /// Its element type.
        dtype: onnx_graph::DType,
    },
    /// The graph has no output.
    #[error("the network has no output")]
    NoOutput,
    /// The program does not compute a requested value.
    #[error("value '{value}' is not computed by this program, so it can't be observed")]
    NotComputed {
        /// The value.
        value: String,
    },
    /// libtorch failed in a node.
    #[error("node '{node}' ({op}): {source}")]
    Torch {
        /// The node.
        node: String,
        /// Its operator.
        op: String,
        /// Error of libtorch.
        source: TchError,
    },
    /// libtorch failed outside the network.
    #[error("{action}: {source}")]
    Tensor {
        /// The failed action.
        action: String,
        /// Error of libtorch.
        source: TchError,
    },
    /// The weight source lacks a weight that the program reads.
    #[error(
        "there is no weight for value number {index}; was the weight source made from the same graph?"
    )]
    NoWeight {
        /// [`onnx_graph::ValueId::index`] of the value.
        index: usize,
    },
    /// The weight source can't store running statistics.
    #[error(
        "this weight source can't store running statistics (value number {index}); use batch statistics and re-estimate them afterwards"
    )]
    ReadOnly {
        /// [`onnx_graph::ValueId::index`] of the value.
        index: usize,
    },
    /// A crop does not fit its tensor.
    #[error("a crop keeps index {index} of axis {axis}, but the tensor is {dims:?}")]
    Crop {
        /// The axis.
        axis: usize,
        /// The index out of range.
        index: usize,
        /// Dimensions of the tensor.
        dims: Vec<i64>,
    },
    /// The cut belongs to another graph.
    #[error(
        "the cut changes node number {node}, which this program does not have; it was made for another graph"
    )]
    ForeignCut {
        /// Position of the node.
        node: usize,
    },
    /// A stored tensor has another shape than the one it replaces.
    #[error("stored tensor '{name}' is {stored:?}, the network needs {required:?}")]
    StoredShape {
        /// Name of the tensor.
        name: String,
        /// Stored dimensions.
        stored: Vec<i64>,
        /// Dimensions that the network needs.
        required: Vec<i64>,
    },
    /// Statistics were requested without any batch.
    #[error("no batch was given to estimate statistics from")]
    NoBatches,
    /// Unknown device name.
    #[error("'{name}' is not a device; use cpu, cuda or cuda:N")]
    DeviceName {
        /// The name.
        name: String,
    },
    /// CUDA was requested and is not available.
    #[error(
        "CUDA can't be used: {reason}; use the device cpu or install a libtorch with CUDA and its driver"
    )]
    Cuda {
        /// The missing part.
        reason: String,
    },
    /// The graph refused a change.
    #[error(transparent)]
    Graph(#[from] onnx_graph::GraphError),
}

impl ExecError {
    /// Returns a conversion that names the failed action.
    pub fn tensor(action: impl Into<String>) -> impl FnOnce(TchError) -> Self {
        let action = action.into();
        move |source| Self::Tensor { action, source }
    }
}
