//! Width search: which channel group keeps how many channels.
//!
//! A [`Strategy`] is asked for a [`Config`], the caller trains, measures and judges it ([`Judge`]), and tells the
//! strategy the [`Outcome`]. What a strategy may look at while it decides is an [`Environment`]: the [`Space`], a
//! predicted cost with its budget, and the node embeddings of a partly decided configuration.
//!
//! Invariants:
//! - every configuration asked for lies in the space, and was neither asked for nor told before;
//! - with a hard budget, its predicted cost, corrected by what was measured so far ([`BudgetTracker`]), is within the
//!   budget, or it is the smallest configuration there is;
//! - the same seed and the same tells give the same asks, also across [`Strategy::snapshot`] and
//!   [`Strategy::restore`]; libtorch's own random generator is never used.
//!
//! Deliberately absent: training, measuring, files, and any notion of layers. Costs and embeddings come from outside.
#![forbid(unsafe_code)]

mod budget;
mod candidates;
mod ddpg;
mod error;
mod evolution;
mod random;
mod reward;
mod rng;
mod screen;
mod space;
mod strategy;
mod tracker;
mod uniform;
mod wall;

pub use budget::{Budget, CostKind, Limits, Reference};
pub use candidates::narrow;
pub use ddpg::{Ddpg, DdpgConfig};
pub use error::SearchError;
pub use evolution::{Evolution, EvolutionConfig};
pub use random::{Random, RandomConfig};
pub use reward::{Cost, Judge, LatencyInterval, Outcome, RewardConfig, RewardMode};
pub use rng::SeededRng;
pub use screen::{ScreenConfig, Screening, screen};
pub use space::{Config, GroupSpace, Space, WidthGrid};
pub use strategy::{Environment, Strategy};
pub use tracker::{Band, BudgetTracker, Told, TrackerConfig};
pub use uniform::{Uniform, UniformConfig};
pub use wall::Wall;
