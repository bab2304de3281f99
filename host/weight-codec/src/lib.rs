//! A network's weights in few bytes.
//!
//! - A [`Quantizer`] turns one weight tensor into [integers with scales](Quantized): [`Nearest`] by
//!   rounding, [`Gptq`] with the Gram matrix of the layer's inputs.
//! - [`pack()`] stores a file whose weight tensors are at known ranges, and [`unpack()`] restores
//!   it. Neither knows the file's format: the restored file has the same layout, with the weights
//!   that the decoder restores.
//! - [`fit()`] chooses the bits per tensor for a number of bytes.
//! - [`surp_encode`] stores weights as a stream whose prefixes all decode
//!   ([`SurpDecoder`]), also within a container ([`pack_refined`], [`unpack_prefix`]).
//!
//! Invariants:
//! - What is unpacked is bit by bit what was packed, on every platform: models of the entropy
//!   coder are integers, and weights are products and sums that IEEE 754 defines exactly.
//! - Bytes from outside never cause a panic, nor more memory than their [`Limits`] admit. A damaged
//!   or truncated container is an error, by a checksum of the file that it restores.
//!
//! Out of scope: files, ONNX, and running networks. Hessians and ranges come from outside.
#![forbid(unsafe_code)]

mod container;
mod deflate;
mod entropy;
mod error;
mod fit;
mod integers;
mod limits;
mod planes;
mod quantize;
mod surp;
mod tensor;
mod wire;

pub use container::{
    Prefix, Storage, Stored, is_container, pack, pack_refined, unpack, unpack_prefix,
};
pub use error::CodecError;
pub use fit::{Fit, FitConfig, FitTensor, fit};
pub use limits::Limits;
pub use quantize::{Gptq, GptqConfig, Hessian, Nearest, Quantizer};
pub use surp::{SurpConfig, SurpDecoder, SurpStop, surp_encode};
pub use tensor::{Bits, Quantized, Tensor};
