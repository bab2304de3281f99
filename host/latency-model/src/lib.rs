//! A model of a device's latency.
//!
//! - [`CostTable`] computes the MACs of a width configuration without building its network.
//! - [`Kernel`] is a layer with open numbers of channels. [`KernelTable`] holds the times of
//!   kernels measured alone; a network's time is estimated by their sum.
//! - [`Curve`] finds the steps of a device's latency, and the widths at their edges.
//! - [`LatencyModel`] learns the error of that sum from measured networks, with prediction
//!   intervals.
//! - [`Predictor`] combines these for one network.
//!
//! Invariants: the table counts the MACs of a pruned network exactly; equal kernels and widths
//! give equal probe networks. Deliberately absent: measuring and files.
//!
//! # Example
//!
//! Predict a ResNet-20 on a device that takes 1 ns per MAC, plus 5 us per run:
//!
//! ```
//! use latency_model::{CostTable, KernelTable, LatencyModelConfig, Predictor, ProbePlan};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default())?;
//! let analysis = channels::analyse(&graph)?;
//! let table = CostTable::new(&graph, &analysis);
//! let full: Vec<usize> = analysis.groups().iter().map(|group| group.channels).collect();
//! let admissible: Vec<Vec<usize>> = full.iter().map(|&n| vec![n / 2, n]).collect();
//!
//! // Measure each kernel alone; here the device is a formula.
//! let mut times = Vec::new();
//! for point in ProbePlan::new(&table, &admissible).points() {
//!     let macs = onnx_graph::cost::costs(&point.network()?).macs;
//!     times.push((point.clone(), 5e3 + macs as f64));
//! }
//! let times = table.layer_times(&KernelTable::new(times, 0.01));
//!
//! let predictor = Predictor::new(&table, Some(&times), LatencyModelConfig::default())?;
//! let half: Vec<usize> = full.iter().map(|n| n / 2).collect();
//! let ratio = predictor.ratio(&half);
//! assert!((ratio - table.macs(&half) / table.full_macs()).abs() < 0.01);
//! // The interval needs measured networks: see `Predictor::learn`.
//! assert!(predictor.interval(&half).is_none());
//! # Ok(())
//! # }
//! ```
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

pub use cost::{CostTable, IN_FLOATS, IN_INTEGERS, LayerTimes};
pub use error::LatencyModelError;
pub use kernel::{Grouping, Kernel, Precision};
pub use learn::{LatencyModel, LatencyModelConfig, ModelFit, Scale, kendall, spearman};
pub use predictor::Predictor;
pub use probe::{KernelTable, KindTimes, LayerChannels, LayerKind, ProbePlan, ProbePoint};
pub use steps::{Curve, LatencyStep};
