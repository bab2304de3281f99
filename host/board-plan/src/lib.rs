//! A quantised network as a plan for microcontrollers, and what it needs of one.
//!
//! [`lower`] takes a network with QuantizeLinear and DequantizeLinear around its operators, as
//! [`onnx_graph::quantize`], ONNX Runtime's and PyTorch's quantisers write it, and returns
//! operators, packed weights and places in memory for `int8_engine`. Arena, weights and plan are
//! known without a device ([`Footprint`]).
//!
//! Invariants: what the boards' operators do not cover is an error that names the node. Bytes
//! without a sign become bytes with one, moved by 128; channels become the last axis.
//!
//! Deliberately absent: the choice of scales, files, boards.
//!
//! # Example
//! A network of one convolution is quantised, lowered, and run as a board would:
//! ```
//! use std::collections::BTreeMap;
//!
//! use onnx_graph::ops::Conv;
//! use onnx_graph::quantize::{Quantize, quantize};
//! use onnx_graph::{DType, Dim, Graph, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut graph = Graph::new("example", 17);
//! let x = graph.add_input("image", DType::F32, [1, 3, 8, 8].map(Dim::Known).to_vec());
//! let w = graph.add_constant("weight", Tensor::f32([4, 3, 1, 1], vec![0.25; 12])?);
//! let conv = Conv {
//!     kernel: vec![1, 1],
//!     strides: vec![1, 1],
//!     pads: vec![0; 4],
//!     dilations: vec![1, 1],
//!     group: 1,
//! };
//! let y = graph.push("conv", conv.into(), &[x, w])?;
//! graph.add_output(y);
//! let options = Quantize {
//!     ranges: BTreeMap::from([(x, (0.0, 1.0)), (y, (0.0, 1.0))]),
//!     ..Quantize::default()
//! };
//! let lowered = board_plan::lower(&quantize(&graph, &options)?)?;
//! // The image, the result, and the columns that the kernels gather.
//! assert_eq!(lowered.footprint.arena, 192 + 256 + 20);
//!
//! let bytes = lowered.reference()?.run(&vec![0.8; 192])?;
//! let result = lowered.decode(&bytes).ok_or("too few bytes")?;
//! assert!((result[0] - 0.6).abs() < 0.01);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod error;
mod fixed;
mod layer;
mod lowered;
mod memory;
mod ops;
mod program;
mod reference;
mod state;
mod value;
mod walk;

pub use error::LowerError;
pub use lowered::{
    FIRMWARE_CODE_IN_RAM_BYTES, FIRMWARE_FLASH_BYTES, FIRMWARE_RAM_BYTES, Footprint, Lowered,
    Needs, Port,
};
pub use reference::Reference;
pub use value::Quantity;
pub use walk::{has_integers, lower};
