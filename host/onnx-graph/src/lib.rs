//! ONNX models as graphs of typed operators with inferred shapes: reading, writing, costs,
//! checked edits.
//!
//! Invariants: reading never panics, whatever the bytes; nodes that are not interpreted are kept
//! as [`ops::Op::Opaque`] and written back unchanged; `write(read(bytes))` describes the same
//! network. Deliberately absent: files, libtorch, ONNX Runtime, channel analysis, and execution
//! beyond what constants determine.
//!
//! # Example
//! A network is built in code, written as an ONNX file, and read back:
//! ```
//! use onnx_graph::cost::costs;
//! use onnx_graph::ops::{Conv, Relu};
//! use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, read, write};
//!
//! # fn main() -> Result<(), onnx_graph::GraphError> {
//! let mut graph = Graph::new("example", 17);
//! let batch = Dim::Symbol("N".into());
//! let shape = vec![batch, Dim::Known(3), Dim::Known(8), Dim::Known(8)];
//! let x = graph.add_input("image", DType::F32, shape);
//! let w = graph.add_constant("weight", Tensor::f32([4, 3, 3, 3], vec![0.5; 108])?);
//! let conv = Conv {
//!     kernel: vec![3, 3],
//!     strides: vec![1, 1],
//!     pads: vec![1; 4],
//!     dilations: vec![1, 1],
//!     group: 1,
//! };
//! let y = graph.push("conv", conv.into(), &[x, w])?;
//! let y = graph.push("relu", Relu.into(), &[y])?;
//! graph.add_output(y);
//!
//! let bytes = write(&graph)?;
//! let read_back = read(&bytes, &NoExternalData)?;
//! assert_eq!(graph.same_network(&read_back), Ok(()));
//! let names: Vec<&str> = read_back.nodes().iter().map(|node| node.op.name()).collect();
//! assert_eq!(names, ["Conv", "Relu"]);
//! // An open batch counts as one image.
//! assert_eq!(costs(&read_back).macs, 4 * 3 * 3 * 3 * 8 * 8);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod about;
mod attribute;
mod batch;
mod captures;
mod consumers;
pub mod cost;
mod dead;
mod deploy;
mod dims;
mod edit;
mod error;
mod external;
mod fold;
mod graph;
mod halves;
mod infer;
mod input_size;
mod interface;
mod metadata;
mod names;
mod open_inputs;
pub mod ops;
mod order;
mod origin;
mod other_outputs;
mod patch;
mod ports;
mod proto;
pub mod quantize;
mod read;
mod renaming;
mod reshaping;
mod same;
mod simplify;
mod sizes;
mod tail;
mod tensor;
mod types;
mod value;
mod write;

pub use attribute::{Attribute, AttributeValue};
pub use consumers::Consumers;
pub use dead::Live;
pub use deploy::{Deployed, deploy};
pub use error::GraphError;
pub use external::{ExternalData, NoExternalData};
pub use graph::{Graph, Node};
pub use halves::in_halves;
pub use input_size::{InputSize, InputSizeError, resolve_input_sizes};
pub use metadata::with_metadata;
pub use origin::Origin;
pub use patch::{InsertedNorm, Patch, Wire, fold_batch_norm, insert_batch_norm};
pub use read::{composed_operators, read, read_owned, read_sized};
pub use reshaping::{blocks, reshaped};
pub use tensor::{DType, Scaling, Stored, Tensor, TensorData};
pub use value::{Dim, NodeId, Shape, Value, ValueId};
pub use write::{Written, write, write_with_ranges};
