//! Groups of coupled channels in a network, and their removal.
//!
//! Every index of every channel axis of every value is an *atom*. Operators relate atoms: an
//! addition unites them index by index, a concatenation joins their lists, a depthwise
//! convolution passes them through, a convolution creates new ones. A union-find over the atoms
//! gives the coupled sets, called *units*; units that appear on the same axes form a [`Group`].
//! Atoms that reach a graph input or output, or an operator without a channel rule, are *pinned*,
//! with a reason for the user.
//!
//! Invariants: a pruned graph computes what the original computes with the dropped channels set
//! to zero; a unit is kept or dropped on all its axes; pinned channels are never dropped; a group
//! is emptied only together with a residual branch (see [`Removal`]). Deliberately absent: the
//! choice of channels to drop, which is the strategy's ([`importance_order`] only ranks by
//! magnitude), files, libtorch.
//!
//! # Features
//! `testing` adds `mask`, the reference for tests: the original graph with the dropped channels
//! set to zero.
//!
//! # Example
//! ```
//! use channels::{GroupId, PrunePlan, analyse, importance_order, prune};
//! use onnx_graph::ops::Gemm;
//! use onnx_graph::{DType, Dim, Graph, Tensor};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // 3 inputs, 4 hidden channels, 2 outputs.
//! let mut graph = Graph::new("mlp", 17);
//! let x = graph.add_input("x", DType::F32, vec![Dim::Symbol("N".into()), Dim::Known(3)]);
//! let weights = (0..12).map(|i| i as f32).collect();
//! let w = graph.add_constant("hidden.weight", Tensor::f32([3, 4], weights)?);
//! let hidden = graph.push("hidden", Gemm::default().into(), &[x, w])?;
//! let w = graph.add_constant("out.weight", Tensor::f32([4, 2], vec![1.0; 8])?);
//! let out = graph.push("out", Gemm::default().into(), &[hidden, w])?;
//! graph.add_output(out);
//!
//! // The hidden channels form a group; those of the input and the output are pinned.
//! let analysis = analyse(&graph)?;
//! assert_eq!(analysis.groups()[0].name, "hidden");
//! assert_eq!(analysis.groups()[0].channels, 4);
//! assert!(analysis.removal(GroupId(0)).is_none(), "it must keep a channel");
//!
//! // The two units with the largest weights stay.
//! let order = importance_order(&graph, &analysis);
//! let plan = PrunePlan::from_widths(&analysis, &order, &[2])?;
//! assert_eq!(plan.keep, [[2, 3]]);
//! let pruned = prune(&graph, &analysis, &plan)?;
//! let w = pruned.find_value("hidden.weight").and_then(|id| pruned.constant(id));
//! assert_eq!(w.and_then(Tensor::as_f32), Some(&[2.0, 3.0, 6.0, 7.0, 10.0, 11.0][..]));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod adopt;
mod analysis;
mod apply;
mod atoms;
mod attention;
mod axis_count;
mod by_parts;
mod error;
mod groups;
mod importance;
mod input_axis;
#[cfg(feature = "testing")]
mod mask;
mod options;
mod plan;
mod removal;
mod rules;
mod units;

pub use analysis::{analyse, analyse_with};
pub use apply::{apply, prune};
pub use axis_count::{AxisCount, AxisShare};
pub use error::ChannelError;
pub use groups::{Analysis, Group, Pinned, Removal};
pub use importance::{Importance, Magnitude, Scores, importance_order, weight_out_axis};
#[cfg(feature = "testing")]
pub use mask::mask;
pub use options::{AnalysisOptions, Attention};
pub use plan::{Crop, Cut, PrunePlan, Spread, cut};
pub use rules::{OperatorRule, operator_rules};
pub use units::{AxisUnit, GroupId};
