//! Which channels of a network stand or fall together, and how to remove them.
//!
//! Every index of every channel axis of every value is an *atom*. Operators relate atoms: an
//! addition unites them index by index, a concatenation strings them together, a depthwise
//! convolution carries them through, a convolution makes fresh ones. A union-find over the atoms
//! gives the coupled sets, here called *units*; units with the same members form a [`Group`].
//! Atoms that reach a graph input or output, or an operator without a channel rule, are *pinned*,
//! with the reason kept for the user.
//!
//! Invariants: a pruned graph computes what the original computes with the dropped channels set
//! to zero (see [`silence`]); a unit is kept or dropped on every axis it appears on; pinned
//! channels are never dropped; a group is emptied only where a residual branch goes with it (see
//! [`Removal`]). Deliberately absent: which channels *should* go (that is a strategy's business;
//! [`importance_order`] only ranks by magnitude), files, libtorch.
#![forbid(unsafe_code)]

mod analysis;
mod apply;
mod atoms;
mod attention;
mod error;
mod groups;
mod importance;
mod options;
mod plan;
mod removal;
mod rules;

pub use analysis::{analyse, analyse_with};
pub use apply::{apply, silence};
pub use error::ChannelError;
pub use groups::{Analysis, AxisUnit, Group, GroupId, Pinned, Removal};
pub use importance::importance_order;
pub use options::{AnalysisOptions, Attention};
pub use plan::{Crop, Cut, PrunePlan, cut};
