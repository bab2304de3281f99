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
pub use lowered::{Footprint, Lowered, Port};
pub use reference::Reference;
pub use value::Quantity;
pub use walk::lower;
