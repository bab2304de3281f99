//! Measuring one network's configurations, kernels and operators on a device.
//!
//! A [`Session`] holds the devices, the measurement store and the network that every other is
//! measured beside. It measures ratios to that network, kernels alone ([`Session::kernels`]) and
//! the operators of two networks ([`Session::observe`]), and finds kernels that another device of
//! the profile has measured ([`Session::donor_kernels`]). [`learn`] measures the configurations
//! that a predictor is least certain of, until it is certain enough.
//!
//! Invariants: an invalid measurement never becomes a [`MeasuredRatio`]; a device repeats an
//! invalid measurement, nothing here does. Deliberately absent: pruning, the choice of
//! configurations, messages for the terminal.
#![forbid(unsafe_code)]

mod device;
mod effort;
mod error;
mod kernels;
mod learn;
mod observe;
mod ratio;
mod session;

pub use effort::{EffortError, SamplingEffort};
pub use error::MeasuringError;
pub use kernels::{
    DONOR_NETWORKS, DonorKernels, ProbeConfig, ProbedKernels, misfit, probe_kernels,
};
pub use learn::{CERTAINTY, Learned, Learning, Networks, learn};
pub use observe::{Observed, Pass};
pub use ratio::{FinalRatio, MeasuredRatio};
pub use session::{Effort, Session, SessionConfig};
