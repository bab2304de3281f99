//! What can go wrong between a question about latency and its answer.

use std::path::PathBuf;

use agent_protocol::{Failure, ProtocolError};

use crate::Obstacle;

/// Why there is no latency.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LatencyError {
    /// The agent's program is nowhere.
    #[error(
        "the agent `graphprune-agent` was not found; looked at {}. Build it with `cargo build --package graphprune-agent`, or name it in GRAPHPRUNE_AGENT",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    AgentNotFound {
        /// Every place that was tried.
        looked: Vec<PathBuf>,
    },
    /// The agent's program does not come up.
    #[error("the agent {place} did not start: {detail}")]
    AgentStart {
        /// The program or the device.
        place: String,
        /// What was seen, with its last words.
        detail: String,
    },
    /// The device cannot be used as it is.
    #[error("{place}: {obstacle} ({detail}); {}", obstacle.advice(device))]
    Unusable {
        /// What the user calls the device.
        device: String,
        /// Where it is: `ssh pi@board`.
        place: String,
        /// What is in the way.
        obstacle: Obstacle,
        /// What was seen.
        detail: String,
    },
    /// The agent died or fell silent more often than it was started anew.
    #[error("the agent was lost {times} times, last while {doing}: {detail}")]
    AgentLost {
        /// How often, in this one request.
        times: u32,
        /// The call.
        doing: &'static str,
        /// What was seen.
        detail: String,
    },
    /// Every device of a fleet failed.
    #[error(
        "no device of the fleet is left: {}",
        reasons.iter().map(|(name, reason)| format!("{name}: {reason}")).collect::<Vec<_>>().join("; ")
    )]
    NoDeviceLeft {
        /// Each device's name and what became of it.
        reasons: Vec<(String, String)>,
    },
    /// The connection to the agent failed or the agent did not answer in time. A new connection may help.
    #[error("{call} on the agent failed: {detail}")]
    Connection {
        /// The call.
        call: &'static str,
        /// What was seen.
        detail: String,
    },
    /// The agent refused a call.
    #[error("the agent refuses {call}: {detail}")]
    Refused {
        /// The call.
        call: &'static str,
        /// The agent's words.
        detail: String,
    },
    /// A message makes no sense.
    #[error("a message between host and agent is wrong: {0}")]
    Protocol(#[from] ProtocolError),
    /// The worker on the device failed; the agent lives on and other models can be measured.
    #[error("working on the device failed while {0}")]
    Failed(Failure),
    /// A model cannot be sent.
    #[error("model `{name}` cannot be measured: {detail}")]
    Model {
        /// The model's name.
        name: String,
        /// Why.
        detail: String,
    },
    /// A model's file is not whole.
    #[error("model '{}': {detail}", path.display())]
    ModelFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
    /// There is no such device.
    #[error("there is no device `{name}`: {advice}")]
    UnknownDevice {
        /// What was asked for.
        name: String,
        /// What there is, and how to add one.
        advice: String,
    },
    /// The file of registered devices is wrong, or does not take a change.
    #[error("the devices in {}: {problem}", path.display())]
    Registry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A command on a device failed.
    #[error("a command on {place} failed: {detail}")]
    Shell {
        /// The device in a few words.
        place: String,
        /// How it ended and what it said.
        detail: String,
    },
    /// There are no agents for other machines.
    #[error(
        "there are no agents to put on a device; looked at {}. Build them with `cargo xtask agents`, or name their folder with --agents or in GRAPHPRUNE_AGENTS",
        looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    NoAgents {
        /// Every place that was tried.
        looked: Vec<PathBuf>,
    },
    /// The agent cannot be put on a device.
    #[error("the agent cannot be put on {device}: {problem}")]
    Deploy {
        /// What the user calls the device.
        device: String,
        /// Why, and what to do.
        problem: String,
    },
    /// Certificates cannot be made.
    #[error("certificates for {host}: {detail}")]
    Certificates {
        /// For whom.
        host: String,
        /// What went wrong.
        detail: String,
    },
    /// A device profile is wrong.
    #[error("device profile {origin}: {}", problems.join("; "))]
    Profile {
        /// The file, or what else the text came from.
        origin: String,
        /// Every problem found.
        problems: Vec<String>,
    },
    /// The measurement store failed.
    #[error("measurement store {}: {detail}", path.display())]
    Store {
        /// The database file.
        path: PathBuf,
        /// What SQLite said and what to do.
        detail: String,
    },
    /// The host itself could not do its part.
    #[error("{doing}: {source}")]
    Io {
        /// What was tried.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl LatencyError {
    /// Whether the agent itself is gone or unreachable, so that starting it anew may help.
    pub fn is_agent_lost(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::AgentLost { .. } => true,
            Self::Unusable { obstacle, .. } => obstacle.may_pass(),
            _ => false,
        }
    }
}
