//! Width search: the number of channels that each group keeps.
//!
//! A [`Strategy`] proposes [`Widths`] ([`Strategy::ask`]); the caller evaluates, measures and
//! judges them ([`Judge`]) and reports the [`Outcome`] ([`Strategy::tell`]). A strategy accesses
//! the outside through an [`Environment`]: the [`Space`], predicted costs with a budget, and the
//! node embeddings of a partly decided configuration.
//!
//! Invariants:
//! - Every proposed configuration lies in the space and was neither proposed nor reported before.
//! - With a hard budget its predicted cost, corrected by the measurements so far, is within the
//!   budget, or it is the smallest configuration.
//! - Equal seeds and outcomes give equal proposals, also across [`Strategy::snapshot`] and
//!   [`Strategy::restore`]. libtorch's random generator is not used.
//!
//! Out of scope: training, measuring, files, and layers. Costs and embeddings come from outside.
#![forbid(unsafe_code)]

mod bound;
mod budget;
mod candidates;
mod ddpg;
mod error;
mod evolution;
mod grid;
mod kind;
mod knapsack;
mod random;
mod reward;
mod rng;
mod screen;
mod space;
mod strategy;
mod tracker;
mod trajectory;
mod uniform;
mod widths;

pub use budget::{Budget, CostKind, Limits, Reference};
pub use candidates::narrow;
pub use ddpg::{Ddpg, DdpgConfig};
pub use error::SearchError;
pub use evolution::{Evolution, EvolutionConfig};
pub use grid::{GroupSpace, WidthGrid};
pub use kind::{StrategyKind, UnknownStrategy};
pub use knapsack::{Knapsack, KnapsackConfig};
pub use random::{Random, RandomConfig};
pub use reward::{Cost, Judge, LatencyInterval, Outcome, RewardConfig, RewardMode};
pub use rng::SeededRng;
pub use screen::{Prospect, ScreenConfig, Screening, screen};
pub use space::Space;
pub use strategy::{Environment, Strategy};
pub use tracker::TrackerConfig;
pub use trajectory::Trajectory;
pub use uniform::{Uniform, UniformConfig};
pub use widths::Widths;

use tracker::{Band, BudgetTracker};
