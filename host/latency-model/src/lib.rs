//! What is known of a device's latency.
//!
//! [`CostTable`] tells what a width configuration costs without building its network. [`Kernel`] is a layer with the numbers of
//! its channels left open; [`KernelTable`] holds times of kernels measured alone, so that a network's time can be summed from
//! them; [`Curve`] finds the steps in which a device moves, and the widths that are worth having. [`LatencyModel`] learns from
//! whole networks what the sum gets wrong, and says how far it may be off; [`Predictor`] puts these together for one network.
//!
//! Invariants: the table counts the MACs of a pruned network exactly; equal kernels and widths give equal probe networks.
//! Deliberately absent: measuring (the caller does), files.
#![forbid(unsafe_code)]

mod cost;
mod error;
mod kernel;
mod learn;
mod predictor;
mod probe;
mod steps;
#[cfg(test)]
mod testing;

pub use cost::{CostTable, LayerTimes};
pub use error::LatencyModelError;
pub use kernel::{Grouping, Kernel};
pub use learn::{LatencyModel, LatencyModelConfig, ModelFit, Scale, kendall, spearman};
pub use predictor::Predictor;
pub use probe::{KernelTable, KindTimes, LayerKind, ProbePlan, ProbePoint, Reach};
pub use steps::{Curve, Step};
