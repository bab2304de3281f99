//! Several devices as one, with devices that do what a test tells them. Real agents are measured in the agent's own tests.

mod compare;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the store")]
mod fixture;
mod share;
