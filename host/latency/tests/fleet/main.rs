//! Fleets of scripted devices. The agent's tests cover fleets of real agents.

mod compare;
#[path = "../common/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the store")]
mod fixture;
mod share;
