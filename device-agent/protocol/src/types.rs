//! The types both sides work with once a message has been checked.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest;

use crate::ProtocolError;
use crate::interval::Interval;

/// The SHA-256 of a model's bytes: its identity everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl FromStr for Sha256 {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let refuse =
            || ProtocolError::field("Sha256", "hex", text, "64 hexadecimal digits are needed");
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(refuse());
        }
        let mut digest = [0; 32];
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| refuse())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| refuse())?;
        }
        Ok(Self(digest))
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

impl Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a latency is sampled.
///
/// A measurement runs in *rounds*. In each round every model runs one *block* of back-to-back runs, the order of the models
/// rotating from round to round, so that drift of the machine touches all of them alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Sampling {
    /// Threads that work on one operator (ONNX Runtime's intra-op pool).
    pub threads: u32,
    /// Whether idle threads spin instead of sleeping. On a shared machine this makes measurements jump.
    pub spinning: bool,
    /// The value of a model's dynamic batch dimension.
    pub batch: u32,
    /// Seed of the random inputs.
    pub seed: u64,
    /// Cores the worker is bound to; empty: all of them.
    pub cores: Vec<u32>,
    /// The worker's niceness, -20 to 19. A lower one than the agent's own is only granted to a privileged agent; without it the
    /// worker goes on with the agent's.
    pub nice: i32,
    /// The least time each model runs before its first sample, ns.
    pub warmup_ns: u64,
    /// The fewest runs of each model before its first sample.
    pub warmup_runs: u32,
    /// About how long one block lasts, ns. The number of runs in a block follows from the model's own speed.
    pub block_ns: u64,
    /// The fewest rounds. Six is the fewest from which a 95 % interval of a median can be had.
    pub min_rounds: u32,
    /// The most rounds.
    pub max_rounds: u32,
    /// Sampling ends after this time whatever the interval, ns. Warm-up not included.
    pub max_duration_ns: u64,
    /// Sampling ends when half of every interval, relative to its median, is at most this.
    pub ci_target_rel: f64,
    /// When time is up, a measurement whose interval is within this is still valid.
    pub ci_accept_rel: f64,
    /// Without a reference, a measurement whose last third differs from its first by more than this is invalid, and so is one
    /// around which the [`Sentinel`]'s time changed by more than this.
    pub drift_accept_rel: f64,
    /// How long the models run without a pause, after the warm-up and before the first sample, ns. Then the samples tell what a
    /// device keeps up, not what it does for a moment.
    pub sustained_ns: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            threads: 1,
            spinning: false,
            batch: 1,
            seed: 0,
            cores: Vec::new(),
            nice: -10,
            warmup_ns: 60_000_000,
            warmup_runs: 5,
            block_ns: 5_000_000,
            min_rounds: 10,
            max_rounds: 2000,
            max_duration_ns: 2_000_000_000,
            ci_target_rel: 0.02,
            ci_accept_rel: 0.06,
            drift_accept_rel: 0.25,
            sustained_ns: 0,
        }
    }
}

/// What one worker process may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Wall-clock time of one worker process from its start to its end, ns. It is killed when this has passed.
    pub time_ns: u64,
    /// Address space of the worker process, bytes. ONNX Runtime itself takes some 400 MiB of it.
    pub memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time_ns: 120_000_000_000,
            memory_bytes: 8 * 1024 * 1024 * 1024,
        }
    }
}

/// An execution provider of ONNX Runtime and its options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// One of [`Provider::NAMES`].
    pub name: String,
    /// The provider's own options, as ONNX Runtime names them.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

impl Provider {
    /// Each provider's name here and in ONNX Runtime.
    const KNOWN: [(&str, &str); 9] = [
        ("cpu", "CPUExecutionProvider"),
        ("xnnpack", "XnnpackExecutionProvider"),
        ("nnapi", "NnapiExecutionProvider"),
        ("qnn", "QNNExecutionProvider"),
        ("coreml", "CoreMLExecutionProvider"),
        ("acl", "ACLExecutionProvider"),
        ("cuda", "CUDAExecutionProvider"),
        ("tensorrt", "TensorrtExecutionProvider"),
        ("openvino", "OpenVINOExecutionProvider"),
    ];

    /// The providers the agent can ask for. Which of them are there depends on the runtime's library on the device.
    pub const NAMES: [&str; Self::KNOWN.len()] = {
        let mut names = [""; Self::KNOWN.len()];
        let mut n = 0;
        while n < names.len() {
            names[n] = Self::KNOWN[n].0;
            n += 1;
        }
        names
    };

    /// What ONNX Runtime calls the provider of this name; `None` for one that the agent cannot ask for.
    pub fn name_in_runtime(name: &str) -> Option<&'static str> {
        let mut known = Self::KNOWN.iter();
        known.find_map(|(own, full)| (*own == name).then_some(*full))
    }
}

/// How much ONNX Runtime rewrites a model while it loads it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Optimisation {
    /// Not at all.
    None,
    /// Constant folding and removal of what does nothing.
    Basic,
    /// Also fusions.
    Extended,
    /// Also the memory layout.
    #[default]
    All,
}

/// How ONNX Runtime runs a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeOptions {
    /// Execution providers in order of preference; the CPU provider takes what remains. Empty: the CPU alone.
    pub providers: Vec<Provider>,
    /// Whether a model is refused when a provider is missing or a node falls back to the CPU provider without its being asked for.
    pub strict: bool,
    /// How much the model is rewritten while it is loaded.
    pub optimisation: Optimisation,
}

/// What must hold on the device before anything is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Conditions {
    /// The hottest a thermal zone may be at the start and the end, thousandths of a degree Celsius.
    pub max_millicelsius: Option<i64>,
    /// How long the agent waits for the device to cool down before it gives up, ns.
    pub cool_down_ns: u64,
    /// The frequency governor every core should have; another is noted.
    pub governor: Option<String>,
}

/// How much is found out about each model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Latency only.
    #[default]
    Quick,
    /// Also the peak memory and each node's execution provider, in passes (and processes) of their own.
    Full,
}

/// A model the agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// The name used in messages.
    pub name: String,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Sizes of inputs that it leaves open.
    pub inputs: Vec<InputShape>,
}

/// The sizes of a model's input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputShape {
    /// The input's name.
    pub name: String,
    /// The sizes of its axes, outermost first; none is 0.
    pub dims: Vec<u64>,
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(u64::to_string).collect();
        write!(f, "{}={}", self.name, dims.join("x"))
    }
}

/// What the agent is asked to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct MeasureJob {
    /// The candidates.
    pub models: Vec<ModelRef>,
    /// The network every candidate is interleaved with.
    pub reference: Option<ModelRef>,
    /// How to sample.
    pub sampling: Sampling,
    /// What the worker may use.
    pub limits: Limits,
    /// How much to find out.
    pub evidence: Evidence,
    /// How the runtime runs the models.
    pub runtime: RuntimeOptions,
    /// What must hold on the device.
    pub conditions: Conditions,
}

/// A model the agent is asked to run once.
#[derive(Clone, Debug, PartialEq)]
pub struct RunJob {
    /// The model. It has a single input, of floats.
    pub model: ModelRef,
    /// The input, row-major.
    pub input: Vec<f32>,
    /// The input's shape; its product is the input's length.
    pub shape: Vec<u64>,
    /// What the worker may use.
    pub limits: Limits,
    /// How the runtime runs the model.
    pub runtime: RuntimeOptions,
}

/// A model's first output.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutput {
    /// The values, row-major.
    pub output: Vec<f32>,
    /// Their shape; empty for a scalar.
    pub shape: Vec<u64>,
}

/// Where in a measurement the worker is, or was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The worker starts and loads ONNX Runtime.
    Start,
    /// A model is loaded.
    Load,
    /// Runs that are not counted.
    Warmup,
    /// Runs that are.
    Sampling,
    /// The pass that finds the peak memory.
    Memory,
    /// The pass that finds each node's provider.
    Profile,
    /// A single run whose output is wanted.
    Run,
    /// Other measurements come first.
    Queued,
    /// The device is too hot and cools down.
    Cooling,
    /// The models run without a pause before they are sampled.
    Sustained,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "starting the worker",
            Self::Load => "loading",
            Self::Warmup => "warming up",
            Self::Sampling => "sampling",
            Self::Memory => "measuring memory",
            Self::Profile => "profiling",
            Self::Run => "running",
            Self::Queued => "waiting for its turn",
            Self::Cooling => "waiting for the device to cool down",
            Self::Sustained => "running without a pause",
        })
    }
}

/// How far a measurement is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What the worker does.
    pub stage: Stage,
    /// The model at work; empty when it is all of them.
    pub model: String,
    /// Rounds done.
    pub rounds: u32,
    /// Time since sampling began, ns.
    pub elapsed_ns: u64,
    /// Half the widest interval relative to its median, once known.
    pub widest_ci_rel: Option<f64>,
    /// Measurements that come first while this one is queued.
    pub queued: u32,
}

impl Progress {
    /// Nothing done yet of this stage.
    pub fn at(stage: Stage) -> Self {
        Self {
            stage,
            model: String::new(),
            rounds: 0,
            elapsed_ns: 0,
            widest_ci_rel: None,
            queued: 0,
        }
    }
}

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// ONNX Runtime does not take the model, or it needs what the agent refuses.
    ModelRefused,
    /// The worker ended by a signal or with an error.
    Crashed,
    /// The worker had not ended when its time was up.
    TimedOut,
    /// The worker asked for more memory than it may have.
    OutOfMemory,
    /// ONNX Runtime itself could not be loaded.
    RuntimeMissing,
    /// The agent could not do its part.
    Internal,
    /// An execution provider is missing, or a node fell back to the CPU though the options are strict.
    Provider,
    /// The device does not come into the state that the conditions ask for.
    Conditions,
}

/// A measurement that failed; the agent itself is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub kind: FailureKind,
    /// When.
    pub stage: Stage,
    /// The model at work, if it was one.
    pub model: String,
    /// What was seen: a signal's name, the runtime's words, the limit.
    pub detail: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stage)?;
        if !self.model.is_empty() {
            write!(f, " `{}`", self.model)?;
        }
        write!(f, ": {}", self.detail)
    }
}

/// What happens while the agent measures.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasureEvent {
    /// It goes on.
    Progress(Progress),
    /// The end: one measurement a model, in the request's order, then the reference's, if there was one.
    Results(Vec<Measurement>),
    /// The end: nothing was measured.
    Failure(Failure),
}

/// A layer of confinement that is not in effect on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingLayer {
    /// Its name, as [`DeviceInfo::confinement`] would have it.
    pub layer: String,
    /// Why it is not.
    pub reason: String,
    /// Whether the kernel offers it. Then something else keeps it from being in effect, which can be mended.
    pub offered: bool,
}

/// What is known of a device before anything is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// The profile under which it is measured; empty when it comes from the agent itself.
    #[serde(default)]
    pub profile: String,
    /// The name under which the host's user knows it; empty when it comes from the agent itself.
    #[serde(default)]
    pub name: String,
    /// The agent's version.
    pub agent_version: String,
    /// ONNX Runtime's version.
    pub runtime_version: String,
    /// The processor's name, as the system tells it.
    pub cpu_model: String,
    /// Cores the agent may use.
    pub cores: u32,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// The device's own name.
    pub hostname: String,
    /// The execution providers that the runtime's library offers, by the runtime's own names.
    #[serde(default)]
    pub providers: Vec<String>,
    /// What keeps workers in their place on this device.
    #[serde(default)]
    pub confinement: Vec<String>,
    /// What does not, though it would elsewhere.
    #[serde(default)]
    pub unconfined: Vec<MissingLayer>,
    /// What tells this device from others of its kind; empty where the system has no such thing.
    #[serde(default)]
    pub serial: String,
    /// Whether the agent makes inputs of the sizes that come with a model.
    #[serde(default)]
    pub input_shapes: bool,
}

impl DeviceInfo {
    /// An identity under which measurements are comparable: the profile and what decides speed on the device. Boards with the
    /// same image can have the same name and no serial number, so the user's name for it counts as well, where it is
    /// another than the profile's.
    pub fn id(&self) -> String {
        let mut what = format!(
            "{}\n{}\n{}\n{}\n{}\n{}",
            self.cpu_model, self.cores, self.arch, self.os, self.memory_bytes, self.hostname
        );
        if !self.serial.is_empty() {
            what = format!("{what}\n{}", self.serial);
        }
        if !self.name.is_empty() && self.name != self.profile {
            what = format!("{what}\nname {}", self.name);
        }
        let digest = Sha256::of(what.as_bytes()).to_string();
        let profile = if self.profile.is_empty() {
            "device"
        } else {
            &self.profile
        };
        format!("{profile}-{}", &digest[..12])
    }
}

/// One core's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoreState {
    /// Frequency now, kHz.
    pub frequency_khz: Option<u64>,
    /// Frequency governor.
    pub governor: Option<String>,
    /// How often the core was throttled since the system started.
    pub throttle_count: Option<u64>,
}

/// One thermal zone's temperature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThermalZone {
    /// The zone's type.
    pub name: String,
    /// Thousandths of a degree Celsius.
    pub millicelsius: i64,
}

/// The battery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Battery {
    /// Charge, per cent.
    pub percent: u32,
    /// Whether it is being charged or the device hangs on the mains.
    pub charging: Option<bool>,
    /// Its temperature, thousandths of a degree Celsius.
    pub millicelsius: Option<i64>,
}

/// A device's state at one moment. What the system does not tell is `None` or empty, never made up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DeviceState {
    /// When, ns since 1970.
    pub taken_unix_ns: u64,
    /// Each core.
    pub cores: Vec<CoreState>,
    /// Each thermal zone.
    pub thermal: Vec<ThermalZone>,
    /// Load average over one minute.
    pub load1: Option<f64>,
    /// Memory that could be had, bytes.
    pub available_memory_bytes: Option<u64>,
    /// Time all cores together were busy since the system started, ns.
    pub cpu_busy_ns: Option<u64>,
    /// Time a hypervisor gave to others since the system started, ns.
    pub cpu_steal_ns: Option<u64>,
    /// The battery, if there is one.
    pub battery: Option<Battery>,
    /// Free space where the agent keeps its models, bytes.
    pub free_disk_bytes: Option<u64>,
    /// What a Raspberry Pi's firmware tells, bits 0 to 3: now low voltage, frequency capped, throttled, soft temperature limit;
    /// bits 16 to 19: the same since the system started.
    #[serde(default)]
    pub firmware_throttled: Option<u32>,
}

/// A candidate's latency relative to the reference's, from interleaved rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Median over rounds of (median of the candidate's block / median of the reference's block).
    #[serde(flatten, with = "crate::interval::MedianFields")]
    pub interval: Interval,
    /// The ratio of the two 5th percentiles: what is left where nothing disturbed either.
    pub low_end: f64,
    /// Rounds.
    pub rounds: u32,
}

impl Ratio {
    /// Half the interval relative to the median.
    pub fn ci_rel(&self) -> f64 {
        self.interval.half_width_rel()
    }
}

/// Where a node ran.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeProvider {
    /// The node's name after the runtime's own optimisation.
    pub node: String,
    /// Its operator.
    pub op_type: String,
    /// The execution provider.
    pub provider: String,
    /// Mean time of one run, ns, where the runtime tells it.
    pub time_ns: Option<u64>,
}

/// A workload that is always the same, timed before and after the samples in the worker itself: when its time changes, the
/// device did, not the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentinel {
    /// Before the samples, ns.
    pub before_ns: u64,
    /// After them, ns.
    pub after_ns: u64,
}

/// What ran the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeInfo {
    /// ONNX Runtime's version.
    pub version: String,
    /// The first of the execution providers asked for that was had and, where `node_providers` tells, ran a node.
    pub provider: String,
    /// Intra-op threads.
    pub threads: u32,
    /// Whether idle threads spun.
    pub spinning: bool,
    /// Cores the worker was bound to; empty: all.
    pub cores: Vec<u32>,
    /// The worker's niceness.
    pub nice: i32,
    /// Each node's provider; empty unless the full evidence or another provider than the CPU was asked for.
    pub node_providers: Vec<NodeProvider>,
    /// What was asked of the runtime.
    #[serde(default)]
    pub options: RuntimeOptions,
    /// What kept the worker in its place.
    #[serde(default)]
    pub confinement: Vec<String>,
}

/// Whether a measurement may be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It may.
    Valid,
    /// It must never enter a reward, a table or a baseline.
    Invalid {
        /// Why, for people.
        reason: String,
    },
}

/// A latency with its evidence.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The model's name in the request.
    pub name: String,
    /// The model.
    pub model_sha256: Sha256,
    /// The reference it was interleaved with.
    pub reference_sha256: Option<Sha256>,
    /// Median over rounds of the block's median, ns.
    pub median_ns: f64,
    /// The 95 % interval of `median_ns`, by the order statistics of the rounds.
    pub ci95_ns: (f64, f64),
    /// The fastest run, ns.
    pub min_ns: u64,
    /// 5th percentile of all samples, ns.
    pub p5_ns: f64,
    /// 25th percentile, ns.
    pub p25_ns: f64,
    /// 50th percentile, ns.
    pub p50_ns: f64,
    /// 75th percentile, ns.
    pub p75_ns: f64,
    /// 95th percentile, ns.
    pub p95_ns: f64,
    /// 99th percentile, ns.
    pub p99_ns: f64,
    /// Every timed run in the order of running: rounds of `block_runs` runs each.
    pub samples_ns: Vec<u64>,
    /// Runs in a block.
    pub block_runs: u32,
    /// The runs before, which count for nothing.
    pub warmup_ns: Vec<u64>,
    /// Timed runs in the middle of which the kernel gave the core to another process. They tell about that process, not
    /// about the model, so each was repeated and counts for nothing.
    pub preempted_ns: Vec<u64>,
    /// Relative to the reference; `None` without one and for the reference itself.
    pub ratio: Option<Ratio>,
    /// Peak resident memory above that of a process with the runtime loaded and no model, bytes. Full evidence only.
    pub peak_memory_bytes: Option<u64>,
    /// The device before.
    pub before: DeviceState,
    /// The device after.
    pub after: DeviceState,
    /// What ran it.
    pub runtime: RuntimeInfo,
    /// Whether it may be used.
    pub verdict: Verdict,
    /// What was noticed and does not make it invalid.
    pub notes: Vec<String>,
    /// When, ns since 1970.
    pub taken_unix_ns: u64,
    /// Time the runtime took to load and optimise the model, ns.
    pub load_ns: u64,
    /// The device's own pace around the samples.
    pub sentinel: Option<Sentinel>,
}

impl Measurement {
    /// Whether it may be used.
    pub fn is_valid(&self) -> bool {
        self.verdict == Verdict::Valid
    }
}
