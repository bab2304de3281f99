//! Hostile, vanishing and competing clients, hostile models and full disks: the real agent goes
//! on.

#[path = "../agent/fixture.rs"]
#[allow(dead_code, reason = "shared with the tests in ../agent")]
mod fixture;

mod bytes;
mod certificates;
mod connections;
mod frames;
mod messages;
mod names;
mod proxy;
mod queue;
mod restart;
mod rights;
mod secrets;
mod served;
mod storage;
mod takeover;
mod tls;
