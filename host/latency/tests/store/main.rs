//! The measurement store from outside.

mod claims;
mod files;
mod fixture;
mod memory;
