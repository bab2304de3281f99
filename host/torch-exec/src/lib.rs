//! A [`Graph`](onnx_graph::Graph) as a differentiable program on libtorch.
//!
//! [`Program::compile`] flattens a graph into steps once. [`Program::forward`] runs them on a
//! batch with weights from a [`WeightSource`], optionally cropped to the channels that a
//! [`Cut`](channels::Cut) keeps. The pruned network is never built: the same steps run on cropped
//! weights, and gradients flow back through the crop.
//!
//! Invariants:
//! - Steps look nothing up by name.
//! - A tensor is released after its last use.
//! - An operation writes in place only if no other step reads the overwritten value and the
//!   backward pass does not need it.
//! - BatchNormalization statistics change only in [`NormMode::Update`] (the stored ones) and
//!   [`NormMode::Collect`] (those passed in).
//!
//! Out of scope: data loading, optimisers, training loops, ONNX reading and writing, channel
//! analysis.

mod calibrate;
mod device;
mod error;
mod feed;
mod front;
mod loss;
mod norm;
mod ops;
mod options;
mod order;
mod params;
mod places;
mod program;
mod ranges;
mod reestimate;
mod step;
mod weights;

pub use calibrate::{calibrate_inserted_norms, calibrate_norms};
pub use device::{has_bf16, parse_device, reuse_memory, seed, set_threads, threads};
pub use error::ExecError;
pub use front::{Stop, first_stop, front};
pub use loss::{accuracy, cross_entropy, distillation};
pub use norm::{NormMode, NormStats, Sums};
pub use ops::untyped_operators;
pub use options::{ExecOptions, MemoryFormat, Precision, to_format};
pub use params::Params;
pub use program::{Observer, Program, Stages};
pub use ranges::{RangeMethod, activation_ranges};
pub use reestimate::{NormDrift, Overlay, reestimate};
pub use tch::{Device, Kind, TchError, Tensor, no_grad};
pub use weights::{WeightSource, crop};
