//! The measurement store from outside.

mod claims;
mod comparisons;
mod export;
mod files;
#[path = "../common/mod.rs"]
mod fixture;
mod kindred;
mod memory;
