//! Errors of measuring latency.

use std::path::PathBuf;

use agent_protocol::{Failure, ProtocolError};

use crate::Obstacle;

/// An error of measuring latency.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyError {
    /// The agent's program was not found.
    #[error(
        "the agent `graphprune-agent` was not found; looked at {}. Build it with `cargo build --package graphprune-agent`, or name it in GRAPHPRUNE_AGENT",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    AgentNotFound {
        /// The searched paths.
        looked: Vec<PathBuf>,
    },
    /// The agent did not start.
    #[error("the agent {place} did not start: {detail}")]
    AgentStart {
        /// The program or the device.
        place: String,
        /// The problem, with the end of the agent's standard error.
        detail: String,
    },
    /// An obstacle prevents the use of the device.
    #[error("{place}: {obstacle} ({detail}); {}", obstacle.advice(device))]
    Unusable {
        /// The user's name for the device.
        device: String,
        /// Its transport and address: `ssh pi@board`.
        place: String,
        /// The obstacle.
        obstacle: Obstacle,
        /// The underlying error.
        detail: String,
    },
    /// The agent was lost and all restarts are used up.
    #[error("the agent was lost {times} times, last while {doing}: {detail}")]
    AgentLost {
        /// The number of losses in this request.
        times: u32,
        /// The interrupted call.
        doing: &'static str,
        /// The underlying error.
        detail: String,
    },
    /// Every device of a fleet failed.
    #[error(
        "no device of the fleet is left: {}",
        reasons.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ")
    )]
    NoDeviceLeft {
        /// The name and the error of each device.
        reasons: Vec<(String, String)>,
    },
    /// The connection to the agent failed, or the agent did not answer in time. A new connection
    /// may help.
    #[error("{call} on the agent failed: {detail}")]
    Connection {
        /// The call.
        call: &'static str,
        /// The underlying error.
        detail: String,
    },
    /// The agent refused a call.
    #[error("the agent refuses {call}: {detail}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The agent's message.
        detail: String,
    },
    /// A message between host and agent is malformed.
    #[error("malformed message between host and agent: {0}")]
    Protocol(#[from] ProtocolError),
    /// The worker on the device failed. The agent still runs, and other models can be measured.
    #[error("working on the device failed while {0}")]
    Failed(Failure),
    /// A model cannot be sent.
    #[error("model `{name}` cannot be measured: {detail}")]
    Model {
        /// The model's name.
        name: String,
        /// The reason.
        detail: String,
    },
    /// The external data of a model's file is missing or too large.
    #[error("model '{}': {detail}", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// The problem.
        detail: String,
    },
    /// No device has that name.
    #[error("there is no device `{name}`: {advice}")]
    UnknownDevice {
        /// The requested name.
        name: String,
        /// The existing devices, and how to add one.
        advice: String,
    },
    /// The file of registered devices is malformed, or a change is invalid.
    #[error("the devices in {}: {problem}", path.display())]
    Registry {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// A command on a device failed.
    #[error("a command on {place} failed: {detail}")]
    Shell {
        /// The device.
        place: String,
        /// The status and the last output of the command.
        detail: String,
    },
    /// There are no agents to deploy.
    #[error(
        "there are no agents to put on a device; looked at {}. Build them with `cargo xtask agents`, or name their folder with --agents or in GRAPHPRUNE_AGENTS",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoAgents {
        /// The searched folders.
        looked: Vec<PathBuf>,
    },
    /// The agent cannot be deployed to a device.
    #[error("the agent cannot be put on {device}: {problem}")]
    Deploy {
        /// The user's name for the device.
        device: String,
        /// The reason and the remedy.
        problem: String,
    },
    /// Certificates cannot be created.
    #[error("certificates for {host}: {detail}")]
    Certificates {
        /// The address of the device, or the name of the host that they are for.
        host: String,
        /// The problem.
        detail: String,
    },
    /// A device profile is invalid.
    #[error("device profile {origin}: {}", problems.join("; "))]
    Profile {
        /// The file, or another origin of the text.
        origin: String,
        /// All problems.
        problems: Vec<String>,
    },
    /// The measurement store failed.
    #[error("measurement store {}: {detail}", path.display())]
    Store {
        /// The database file.
        path: PathBuf,
        /// SQLite's error and the remedy.
        detail: String,
    },
    /// An operation on the host failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation.
        doing: String,
        /// The system's error.
        source: std::io::Error,
    },
}

impl LatencyError {
    /// Returns whether the agent is gone or unreachable, so that a restart may help.
    pub fn is_agent_lost(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::AgentLost { .. } => true,
            Self::Unusable { obstacle, .. } => obstacle.may_pass(),
            _ => false,
        }
    }
}
