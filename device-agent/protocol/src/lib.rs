//! The wire between graphprune and the agent on a device.
//!
//! What is here: the messages ([`wire`]), the checked types both sides work with ([`types`]), the rules that turn one into
//! the other, the statistics of a latency ([`stats`], so that host and agent use the same estimator), the frames of the
//! pipe between the agent and its worker process ([`frame`]), the token of a start ([`Token`]), and what makes the words
//! of others fit for people ([`plain`], [`LastWords`]).
//!
//! Invariants: a message becomes a checked type by `TryFrom`, which refuses with a [`ProtocolError`] and never panics,
//! whatever the bytes were. A checked type goes back onto the wire unchanged. Counts and sizes are bounded by [`bounds`].
//!
//! Deliberately absent: sockets, processes, files, ONNX Runtime; and any knowledge of pruning.
#![forbid(unsafe_code)]

pub mod bounds;
mod check;
mod convert;
mod error;
pub mod frame;
mod interval;
pub mod plain;
pub mod stats;
mod token;
pub mod types;
mod words;

/// The messages as they travel, generated from `proto/graphprune_agent.proto`. Not checked: turn them into [`types`].
#[allow(missing_docs, clippy::all)]
pub mod wire {
    tonic::include_proto!("graphprune.agent.v1");
}

pub use check::decode;
pub use convert::{Activity, AgentState, MonitorEvent, Upload, input_shapes};
pub use error::ProtocolError;
pub use token::{TOKEN_METADATA, Token};
pub use types::*;
pub use words::LastWords;

/// The protocol this crate describes. Raised whenever a message changes its meaning.
pub const PROTOCOL_VERSION: u32 = 3;

/// Refuses a peer that speaks another protocol.
pub fn check_version(host: u32, agent: u32) -> Result<(), ProtocolError> {
    if host == agent {
        Ok(())
    } else {
        Err(ProtocolError::Version { host, agent })
    }
}
