//! The measurement store from outside.

mod claims;
mod comparisons;
mod current;
mod donor;
mod export;
mod files;
#[path = "../common/mod.rs"]
mod fixture;
mod memory;
mod recording;
