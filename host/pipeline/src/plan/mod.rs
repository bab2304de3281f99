//! What is kept of a network, by the names in the user's file: for cutting the same network
//! elsewhere, such as in the framework that it comes from, or as another tool chose.

mod describe;
mod schema;
mod units;

pub(crate) use describe::Planned;
pub use schema::{
    CutPlan, PLAN_VERSION, PlannedAxis, PlannedGroup, PlannedParameter, RemovedBranch,
};
