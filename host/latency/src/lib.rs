//! Latency of networks, measured on devices.
//!
//! A [`LatencySource`] answers a [`MeasureRequest`] with one [`Measurement`] per model.
//! [`AgentDevice`] measures through the agent of a device, which a [`Launcher`] starts; [`Local`]
//! starts one on this machine, over the same protocol as on a board or phone. [`Remembering`]
//! puts a [`Store`] in front of a source so that nothing is measured twice, and [`Fleet`] spreads
//! a request over several devices. [`Profile`] holds the settings of a device.
//!
//! Invariants:
//! - A measurement carries its evidence (raw samples, interval, device state) and a verdict. The
//!   store returns valid measurements only; check [`Measurement::is_valid`] before using one from
//!   elsewhere.
//! - Candidates and reference run interleaved in one process. The interval of their *ratio*
//!   decides validity, not the load of the machine: on a shared machine absolute load says
//!   little.
//! - Figures to rely on are over several processes ([`MeasureRequest::thorough`]); one process
//!   only screens.
//! - A crashed or hanging agent is restarted and the measurement repeated, a bounded number of
//!   times. A crashed worker costs one measurement.
//!
//! Deliberately absent: running a model in this process, knowledge of pruning, and predicted
//! latency.
//!
//! Calls block and run a small executor of their own; do not call them from an asynchronous
//! executor.
//!
//! # Example
//!
//! A measurement request, and a source that answers it without a device:
//!
//! ```
//! use latency::{
//!     DeviceInfo, Evidence, LatencyError, LatencySource, MeasureRequest, Measurement, Model,
//!     Profile,
//! };
//!
//! /// Replays measurements.
//! struct Replay(Vec<Measurement>);
//!
//! impl LatencySource for Replay {
//!     fn measure(
//!         &mut self,
//!         request: &MeasureRequest,
//!     ) -> Result<Vec<Measurement>, LatencyError> {
//!         let names: Vec<&str> = request.names().collect();
//!         let replayed = self.0.iter().filter(|m| names.contains(&m.name.as_str()));
//!         Ok(replayed.cloned().collect())
//!     }
//!
//!     fn describe(&self) -> DeviceInfo {
//!         DeviceInfo::default()
//!     }
//! }
//!
//! # fn main() -> Result<(), LatencyError> {
//! let profile = Profile::local()?;
//! let (original, pruned) = (Model::new("original", *b"..."), Model::new("pruned", *b".."));
//! // A figure to rely on: over at least eight processes, with peak memory and the providers of all
//! // nodes.
//! let request = MeasureRequest {
//!     evidence: Evidence::Full,
//!     ..profile.request(vec![pruned], Some(original)).thorough(4.0)
//! };
//! assert_eq!(request.names().collect::<Vec<_>>(), ["pruned", "original"]);
//! assert_eq!(request.processes.fewest, 8);
//! assert_eq!(request.sampling.ci_target_rel, profile.sampling.ci_target_rel / 2.0);
//! let measured = Replay(Vec::new()).measure(&request)?;
//! assert!(measured.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! On a device, `AgentDevice::start(Local::default(), &profile.name, Patience::default())` takes
//! the place of `Replay`. [`Fleet`] has an example with two devices.
#![forbid(unsafe_code)]

mod address;
mod client;
mod command;
mod deploy;
mod device;
mod doctor;
mod enroll;
mod error;
mod export;
mod fleet;
mod home;
mod model;
mod moment;
#[cfg(test)]
mod mutation;
mod near_best;
mod obstacle;
mod onnx_file;
mod plugged;
mod processes;
mod profile;
mod recording;
mod registry;
mod remember;
mod request;
mod resolve;
mod route;
mod share;
mod shell;
mod source;
mod store;
mod transport;

pub use agent_protocol::{
    Activity, AgentState, AllowedClients, Battery, BoardClock, BoardInfo, BoardSpec, Conditions,
    Contention, CoreState, DeviceInfo, DeviceState, Evidence, Failure, FailureKind, FirmwarePlace,
    InputShape, Limits, Measurement, MissingLayer, MonitorEvent, NodeProvider, Optimisation,
    PluggedProbe, ProcessFigures, Progress, ProtocolError, Provider, Ratio, RegisterField,
    RegisterStep, Right, RunJob, RunOutput, RuntimeInfo, RuntimeOptions, Sampling, Sentinel,
    Sha256, Stage, ThermalZone, Token, Verdict, bounds, firmware_folder, memory_in_words, plain,
    runtime_in_words, stats,
};

pub use address::{Address, Transport};
pub use client::Client;
pub use command::{Finished, run as run_program, run_until as run_program_until};
pub use deploy::{Agents, DeployStep, Deployed, Deployment, PackedNetwork, deploy, send_network};
pub use device::{AgentDevice, Patience};
pub use doctor::{Examination, Finding, Grade, Noise, examine};
pub use enroll::{
    ClientEnrolled, ClientEnrolment, ClientList, Enrolled, Enrolment, clients, enroll,
    enroll_client, revoke_client,
};
pub use error::LatencyError;
pub use export::{Format, export};
pub use fleet::{
    Answer, Difference, Estimate, Fleet, FleetConfig, Member, MemberState, ModelResult, PerDevice,
    differences, members,
};
pub use model::Model;
pub use moment::{MomentError, format_moment, parse_moment};
pub use near_best::measure_near_best;
pub use obstacle::Obstacle;
pub use onnx_file::self_contained;
pub use plugged::plugged_in;
pub use processes::{Logarithms, over_processes, student};
pub use profile::{AgentSettings, Knowledge, Profile, TransportKind};
pub use recording::Recording;
pub use registry::{Registered, Registry};
pub use remember::{Lease, Remembering};
pub use request::{MeasureRequest, Processes};
pub use resolve::{Resolved, resolve, resolve_address, resolve_all};
pub use share::{ShareError, ShareFileError, ShareKey, ShareOf, percent, read_toml};
pub use shell::{LocalShell, Shell};
pub use source::LatencySource;
pub use store::{
    Comparison, DamagedEntry, Donor, Filter, Key, Origin, Record, STORE_FILE, Selection, Store,
    user_store,
};
pub use transport::{Adb, AdbClient, Launcher, Link, Local, Probe, Ssh, SshClient, Tcp};
