//! ONNX bytes to [`Graph`] and back: typed operators, shape rules, costs, checked patches.
//!
//! Invariants: reading never panics on any bytes; what is read and not understood is kept as
//! [`ops::Op::Opaque`] and written back unchanged; `write(read(bytes))` describes the same network.
//! Deliberately absent: files, libtorch, ONNX Runtime, execution of anything but what constants determine, channel analysis.
#![forbid(unsafe_code)]

mod attribute;
mod consumers;
pub mod cost;
mod dead;
mod dims;
mod edit;
mod error;
mod external;
mod fold;
mod graph;
mod infer;
mod input_sizes;
mod names;
pub mod ops;
mod order;
mod patch;
mod proto;

mod read;
mod simplify;
mod tensor;
mod write;

pub use attribute::{Attribute, AttributeValue};
pub use consumers::Consumers;
pub use dead::Live;
pub use dims::blocks;
pub use error::GraphError;
pub use external::{ExternalData, NoExternalData};
pub use graph::{Dim, Graph, Node, NodeId, Shape, Value, ValueId};
pub use input_sizes::{InputSize, InputSizeError, resolve_input_sizes};
pub use patch::{InsertedNorm, Patch, Wire, fold_batch_norm, insert_batch_norm};
pub use read::{read, read_owned, read_sized};
pub use tensor::{DType, Tensor, TensorData};
pub use write::write;
