//! The settings of a profile.

use std::fmt;

use agent_protocol::{
    BoardSpec, Conditions, DeviceInfo, Limits, RuntimeOptions, Sampling, memory_in_words,
    runtime_in_words,
};
use serde::{Deserialize, Serialize};

use crate::{MeasureRequest, Model};

/// The kind of connection to an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TransportKind {
    /// A process on this machine.
    Local,
    /// The system's `ssh`.
    Ssh,
    /// The `adb` client.
    Adb,
    /// TCP with mutual TLS to a running agent.
    Tcp,
    /// A bare-metal board behind a debug probe on this machine.
    Probe,
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Ssh => "ssh",
            Self::Adb => "adb",
            Self::Tcp => "tcp",
            Self::Probe => "probe",
        })
    }
}

/// The agent that a device needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentSettings {
    /// The agent's target triple, such as `aarch64-unknown-linux-gnu`; empty to detect it on the
    /// device.
    pub triple: String,
    /// The agent's folder on the device; empty for the default: `.graphprune` in the user's home,
    /// `/data/local/tmp/graphprune` for adb.
    pub folder: String,
    /// Whether models run although a layer of confinement that the kernel offers cannot be put in
    /// place. A separately started agent has the flag `--allow-unconfined` instead.
    pub allow_unconfined: bool,
}

/// Notes on the device of a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Knowledge {
    /// Facts with their sources.
    pub known: Vec<String>,
    /// Settings that were not tested on the device.
    pub not_run: Vec<String>,
}

/// The settings of a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The name: lower-case letters, digits and hyphens.
    pub name: String,
    /// A one-line description.
    pub description: String,
    /// The connection to the agent.
    pub transport: TransportKind,
    /// The address of the device, for a profile of a single device: `pi@board` for ssh, a serial
    /// number for adb, `host:port` for TCP. Other profiles get the address from the registered
    /// device.
    pub address: Option<String>,
    /// The agent.
    pub agent: AgentSettings,
    /// Options of the runtime.
    pub runtime: RuntimeOptions,
    /// Sampling.
    pub sampling: Sampling,
    /// Resources of a worker.
    pub limits: Limits,
    /// Requirements on the state of the device before a measurement.
    pub conditions: Conditions,
    /// The board, for a bare-metal one behind a debug probe.
    pub board: Option<BoardSpec>,
    /// Notes on the device.
    pub knowledge: Knowledge,
}

impl Profile {
    /// Creates a request with the settings of this profile, for latencies only
    /// ([`Evidence::Quick`](crate::Evidence::Quick)).
    pub fn request(&self, models: Vec<Model>, reference: Option<Model>) -> MeasureRequest {
        MeasureRequest {
            models,
            reference,
            sampling: self.sampling.clone(),
            limits: self.limits.clone(),
            runtime: self.runtime.clone(),
            conditions: self.conditions.clone(),
            ..MeasureRequest::default()
        }
    }

    /// Describes a device of this profile in one line: profile, processor, system, runtime,
    /// threads.
    pub fn describe(&self, device: &DeviceInfo) -> String {
        if self.board.is_some() {
            return format!(
                "{} ({}, {}, {} RAM), {}",
                self.name,
                device.cpu_model,
                device.arch,
                memory_in_words(device.memory_bytes),
                runtime_in_words(&device.runtime_version)
            );
        }
        format!(
            "{} ({}, {} cores, {} {}), {}, {} thread(s)",
            self.name,
            device.cpu_model,
            device.cores,
            device.os,
            device.arch,
            runtime_in_words(&device.runtime_version),
            self.sampling.threads
        )
    }
}
