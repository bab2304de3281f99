//! Latency of networks, measured on devices.
//!
//! A [`LatencySource`] answers a [`MeasureRequest`] with one [`Measurement`] a model. [`AgentDevice`] is a device through its
//! agent, reached by a [`Launcher`]: this machine is [`Local`] and speaks the same protocol as a board or phone; [`Remembering`] puts a [`Store`] before any source so that nothing is
//! measured twice; [`Profile`] holds a device's settings.
//!
//! Invariants:
//! - a measurement carries its evidence (raw samples, interval, device state) and a verdict; only valid ones are found again
//!   in the store, and a caller must look at [`Measurement::is_valid`] before it uses one;
//! - candidates and reference run interleaved in one process, and whether a measurement is valid hangs on the interval of
//!   that *ratio*, not on how busy the machine is: on a shared machine absolute load says little and would stall everything;
//! - an agent that dies or hangs is started anew and the measurement repeated, a bounded number of times; a worker that dies
//!   costs one measurement.
//!
//! Deliberately absent: running any model in this process, knowledge of pruning, and predicted latency.
//!
//! The calls block and run a small executor of their own: do not call them from inside an asynchronous executor.
#![forbid(unsafe_code)]

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
mod obstacle;
mod onnx_file;
mod place;
mod profile;
mod registry;
mod remember;
mod resolve;
mod route;
mod share;
mod shell;
mod store;
mod transport;

use std::sync::Arc;

pub use agent_protocol::{
    Activity, AgentState, Battery, Conditions, CoreState, DeviceInfo, DeviceState, Evidence,
    Failure, FailureKind, InputShape, Limits, Measurement, MissingLayer, MonitorEvent,
    NodeProvider, Optimisation, Progress, ProtocolError, Provider, Ratio, RunJob, RunOutput,
    RuntimeInfo, RuntimeOptions, Sampling, Sentinel, Sha256, Stage, ThermalZone, Token, Verdict,
    bounds, plain, stats,
};

pub use client::Client;
pub use command::Finished;
pub use deploy::{Agents, DeployStep, Deployed, Deployment, deploy};
pub use device::{AgentDevice, Patience};
pub use doctor::{Examination, Finding, Grade, Noise, examine};
pub use enroll::{Enrolled, Enrolment, enroll};
pub use error::LatencyError;
pub use export::{Format, export};
pub use fleet::{
    Answer, Difference, Each, Estimate, Fleet, FleetConfig, Member, MemberState, Outcome,
    differences, members,
};
pub use obstacle::Obstacle;
pub use onnx_file::self_contained;
pub use place::{Address, Place};
pub use profile::{AgentPlace, Knowledge, Profile, TransportKind};
pub use registry::{Registered, Registry};
pub use remember::{Lease, Remembering};
pub use resolve::{Resolved, resolve, resolve_address, resolve_all};
pub use share::{ShareError, ShareFileError, ShareKey, ShareOf, percent, read_toml};
pub use shell::{LocalShell, Shell};
pub use store::{Comparison, Filter, Key, Kindred, Origin, Record, STORE_FILE, Store, user_store};
pub use transport::{Adb, AdbClient, Launcher, Link, Local, Ssh, SshClient, Tcp};

/// A model to measure.
#[derive(Clone)]
pub struct Model {
    name: String,
    onnx: Arc<[u8]>,
    sha256: Sha256,
    inputs: Vec<InputShape>,
}

impl Model {
    /// A model from the bytes of its ONNX file. External data is refused by the agent; [`Model::read`] brings it inside.
    pub fn new(name: impl Into<String>, onnx: impl Into<Arc<[u8]>>) -> Self {
        let onnx = onnx.into();
        Self {
            name: name.into(),
            sha256: Sha256::of(&onnx),
            onnx,
            inputs: Vec::new(),
        }
    }

    /// The model with these sizes for inputs that it leaves open.
    #[must_use]
    pub fn with_inputs(mut self, inputs: Vec<InputShape>) -> Self {
        self.inputs = inputs;
        self
    }

    /// Sizes given for its inputs.
    pub fn inputs(&self) -> &[InputShape] {
        &self.inputs
    }

    /// The name used in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's bytes.
    pub fn onnx(&self) -> &Arc<[u8]> {
        &self.onnx
    }

    /// The digest of the bytes: the model's identity.
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Model({}, {} bytes, {})",
            self.name,
            self.onnx.len(),
            self.sha256
        )
    }
}

/// What to measure, and how.
#[derive(Clone, Debug, Default)]
pub struct MeasureRequest {
    /// The candidates.
    pub models: Vec<Model>,
    /// The network every candidate is interleaved with; candidates then carry a ratio to it.
    pub reference: Option<Model>,
    /// How to sample.
    pub sampling: Sampling,
    /// What the worker may use.
    pub limits: Limits,
    /// How much to find out. `Full` costs two more short processes a model.
    pub evidence: Evidence,
    /// How the runtime runs the models.
    pub runtime: RuntimeOptions,
    /// What must hold on the device.
    pub conditions: Conditions,
}

impl MeasureRequest {
    /// The names of the models in the order of a source's answer: the candidates', then the reference's.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.models.iter().chain(&self.reference).map(Model::name)
    }
}

/// Something that knows how long networks take on one device.
pub trait LatencySource {
    /// Measures: one [`Measurement`] per model in the request's order, then one for the reference, if there is one.
    ///
    /// A measurement can come back with [`Verdict::Invalid`] after the source has repeated it as often as it may.
    ///
    /// # Errors
    /// When nothing could be measured. [`LatencyError::Failed`] concerns one of the models (its name is in there) and leaves
    /// the source usable; so does [`LatencyError::Model`].
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError>;

    /// What is known of a request's models without measuring: one slot a model in the request's order, then one for the
    /// reference, if there is one.
    ///
    /// # Errors
    /// When what is known cannot be read.
    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        Ok(vec![
            None;
            request.models.len()
                + usize::from(request.reference.is_some())
        ])
    }

    /// The device.
    fn describe(&self) -> DeviceInfo;
}

impl<S: LatencySource + ?Sized> LatencySource for Box<S> {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        (**self).measure(request)
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        (**self).recall(request)
    }

    fn describe(&self) -> DeviceInfo {
        (**self).describe()
    }
}
