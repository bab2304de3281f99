//! The protocol between graphprune and the agent on a device.
//!
//! - The generated messages ([`wire`]), and one module for each family of messages with the
//!   checked types, their checks and their conversions.
//! - [`stats`]: the statistics of a latency, so that host and agent use the same estimator.
//! - [`pace`]: signs that a device changed its pace.
//! - [`frame`]: the frames of the pipe between the agent and its worker process.
//! - [`Token`]: the secret of one start of an agent; [`AllowedClients`]: the clients of an agent on
//!   a network.
//! - [`plain`] and [`StderrTail`]: foreign text made fit for a terminal.
//!
//! Invariants: a message becomes a checked type by `TryFrom`, which refuses with a
//! [`ProtocolError`] and never panics, whatever the bytes. A checked type goes back onto the
//! wire unchanged. Counts and sizes are bounded by [`bounds`].
//!
//! Deliberately absent: sockets, processes, files, ONNX Runtime; and any knowledge of pruning.
#![forbid(unsafe_code)]

mod agent;
mod board;
pub mod bounds;
mod check;
mod clients;
mod conditions;
mod device;
mod digest;
mod error;
pub mod frame;
mod interval;
mod job;
mod measurement;
mod mirror;
pub mod pace;
pub mod plain;
mod probe;
mod progress;
mod ratio;
mod run;
mod runtime;
mod sampling;
pub mod stats;
mod stderr;
mod token;
mod upload;

/// The messages, generated from `proto/graphprune_agent.proto`. They are not checked: convert
/// them into the types of this crate before use.
#[allow(missing_docs, clippy::all)]
pub mod wire {
    tonic::include_proto!("graphprune.agent.v1");
}

pub use agent::{Activity, AgentState, MonitorEvent};
pub use board::{BoardClock, BoardInfo, BoardSpec, FirmwarePlace, RegisterField, RegisterStep};
pub use check::decode;
pub use clients::{AllowedClient, AllowedClients, CLIENTS_FILE, Right, check_name};
pub use conditions::Conditions;
pub use device::{
    Battery, CoreState, DeviceInfo, DeviceState, MissingLayer, ThermalZone, memory_in_words,
    runtime_in_words,
};
pub use digest::Sha256;
pub use error::ProtocolError;
pub use job::{Evidence, InputShape, MeasureJob, ModelRef};
pub use measurement::{Measurement, ProcessFigures, Verdict};
pub use pace::{Contention, Sentinel};
pub use probe::{PluggedProbe, firmware_folder};
pub use progress::{Failure, FailureKind, MeasureEvent, Progress, Stage};
pub use ratio::Ratio;
pub use run::{RunJob, RunOutput};
pub use runtime::{NodeProvider, Optimisation, Provider, RuntimeInfo, RuntimeOptions};
pub use sampling::{Limits, Sampling};
pub use stderr::StderrTail;
pub use token::{TOKEN_METADATA, Token};
pub use upload::Upload;

/// The version of the protocol. Raised whenever a message changes its meaning.
pub const PROTOCOL_VERSION: u32 = 3;

/// Refuses a peer with another version of the protocol.
pub fn check_version(host: u32, agent: u32) -> Result<(), ProtocolError> {
    if host == agent {
        Ok(())
    } else {
        Err(ProtocolError::Version { host, agent })
    }
}
