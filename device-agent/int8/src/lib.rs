//! Runs a quantised network, given as a *plan*, in 8-bit integers: on a microcontroller, and bit
//! for bit alike on the host.
//!
//! A plan lists operators with their shapes, the places of their tensors in an *arena*, and the
//! places of their weights in a blob of packed weights. Activations are `i8`, channels last, one
//! image; weights are `i8` around 0 with one scale per output channel; biases are `i32`.
//!
//! Invariants: [`Plan::parse`] accepts only plans whose operators stay within the arena and the
//! weights, so that [`run`] neither panics nor touches anything else, whatever the weights;
//! portable and fast kernels compute the same integers. Nothing is allocated.
//!
//! Deliberately absent: where a plan comes from (`board-plan` on the host), input and output of
//! bytes, clocks.
//!
//! # Rounding
//! A sum `x` of a layer becomes `x * multiplier / 2^shift`, rounded once to the nearest integer,
//! as ONNX Runtime rounds `x * scale` ([`Requant`] has the details). CMSIS-NN and TensorFlow Lite
//! round twice.
#![no_std]
#![cfg_attr(not(assembly), forbid(unsafe_code))]
#![cfg_attr(assembly, deny(unsafe_code))]

mod bounds;
mod kernels;
mod ops;
mod plan;
mod requant;
mod run;
mod tensor;
mod wire;

pub use ops::{Add, AveragePool, Conv, Depthwise, MaxPool, Op, Place, Table, Window};
pub use plan::{Build, MAGIC, Plan, PlanError, VERSION};
pub use requant::{Clamp, Requant};
pub use run::{Observer, RunError, run};
pub use tensor::{Element, Region, Tensor};
pub use wire::Sink;
