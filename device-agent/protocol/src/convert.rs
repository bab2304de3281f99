//! Messages to checked types and back: what the host asks for, and what the worker is told.

mod agent;
mod report;
mod run;
mod runtime;

pub use agent::{Activity, AgentState, MonitorEvent};

use crate::check::{count, digest, name, names, need, within, words};
use crate::types::{
    DeviceInfo, Evidence, Failure, FailureKind, InputShape, Limits, MeasureEvent, MeasureJob,
    Measurement, MissingLayer, ModelRef, Progress, Sampling, Stage,
};
use crate::{ProtocolError, bounds, plain, wire};

impl Sampling {
    /// Whether every field has a sensible value; the error names the first that has not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Sampling";
        let cores = bounds::MAX_CORES as u32;
        within(M, "threads", self.threads, (1, cores), "1 to 1024 threads")?;
        within(M, "batch", self.batch, (1, 65_536), "1 to 65536")?;
        count(M, "cores", &self.cores, bounds::MAX_CORES)?;
        for &core in &self.cores {
            within(
                M,
                "cores",
                core,
                (0, cores - 1),
                "a core's number below 1024",
            )?;
        }
        for (field, value) in [
            ("warmup_ns", self.warmup_ns),
            ("max_duration_ns", self.max_duration_ns),
            ("sustained_ns", self.sustained_ns),
        ] {
            within(
                M,
                field,
                value,
                (0, bounds::MAX_DURATION_NS),
                "at most a day",
            )?;
        }
        within(
            M,
            "warmup_runs",
            self.warmup_runs,
            (0, bounds::MAX_BLOCK_RUNS),
            "0 to 4096 runs",
        )?;
        within(
            M,
            "block_ns",
            self.block_ns,
            (1, bounds::MAX_DURATION_NS),
            "1 ns to a day",
        )?;
        within(
            M,
            "min_rounds",
            self.min_rounds,
            (6, bounds::MAX_ROUNDS),
            "6 to 16384 rounds",
        )?;
        within(
            M,
            "max_rounds",
            self.max_rounds,
            (self.min_rounds, bounds::MAX_ROUNDS),
            "min_rounds to 16384 rounds",
        )?;
        within(
            M,
            "ci_target_rel",
            self.ci_target_rel,
            (1e-6, 10.0),
            "0.000001 to 10",
        )?;
        within(
            M,
            "ci_accept_rel",
            self.ci_accept_rel,
            (self.ci_target_rel, 10.0),
            "ci_target_rel to 10",
        )?;
        within(
            M,
            "drift_accept_rel",
            self.drift_accept_rel,
            (0.0, 1e6),
            "0 to 1000000",
        )?;
        Ok(())
    }
}

impl TryFrom<wire::Sampling> for Sampling {
    type Error = ProtocolError;

    fn try_from(m: wire::Sampling) -> Result<Self, ProtocolError> {
        let sampling = Self {
            threads: m.threads,
            spinning: m.spinning,
            batch: m.batch,
            seed: m.seed,
            cores: m.cores,
            nice: m.nice,
            warmup_ns: m.warmup_ns,
            warmup_runs: m.warmup_runs,
            block_ns: m.block_ns,
            min_rounds: m.min_rounds,
            max_rounds: m.max_rounds,
            max_duration_ns: m.max_duration_ns,
            ci_target_rel: m.ci_target_rel,
            ci_accept_rel: m.ci_accept_rel,
            drift_accept_rel: m.drift_accept_rel,
            sustained_ns: m.sustained_ns,
        };
        sampling.check()?;
        Ok(sampling)
    }
}

impl From<Sampling> for wire::Sampling {
    fn from(s: Sampling) -> Self {
        Self {
            threads: s.threads,
            spinning: s.spinning,
            batch: s.batch,
            seed: s.seed,
            cores: s.cores,
            nice: s.nice,
            warmup_ns: s.warmup_ns,
            warmup_runs: s.warmup_runs,
            block_ns: s.block_ns,
            min_rounds: s.min_rounds,
            max_rounds: s.max_rounds,
            max_duration_ns: s.max_duration_ns,
            ci_target_rel: s.ci_target_rel,
            ci_accept_rel: s.ci_accept_rel,
            drift_accept_rel: s.drift_accept_rel,
            sustained_ns: s.sustained_ns,
        }
    }
}

impl Limits {
    /// Whether both limits have a sensible value; the error names the first that has not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "Limits";
        within(
            M,
            "time_ns",
            self.time_ns,
            (1, bounds::MAX_DURATION_NS),
            "1 ns to a day",
        )?;
        within(
            M,
            "memory_bytes",
            self.memory_bytes,
            (1, 1 << 50),
            "1 byte to a pebibyte",
        )?;
        Ok(())
    }
}

impl TryFrom<wire::Limits> for Limits {
    type Error = ProtocolError;

    fn try_from(m: wire::Limits) -> Result<Self, ProtocolError> {
        let limits = Self {
            time_ns: m.time_ns,
            memory_bytes: m.memory_bytes,
        };
        limits.check()?;
        Ok(limits)
    }
}

impl From<Limits> for wire::Limits {
    fn from(l: Limits) -> Self {
        Self {
            time_ns: l.time_ns,
            memory_bytes: l.memory_bytes,
        }
    }
}

impl TryFrom<wire::ModelRef> for ModelRef {
    type Error = ProtocolError;

    fn try_from(m: wire::ModelRef) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: name("ModelRef", "name", m.name)?,
            sha256: digest("ModelRef", &m.sha256)?,
            inputs: input_shapes("ModelRef", m.inputs)?,
        })
    }
}

/// The sizes that come with a model.
pub fn input_shapes(
    message: &'static str,
    shapes: Vec<wire::InputShape>,
) -> Result<Vec<InputShape>, ProtocolError> {
    count(message, "inputs", &shapes, bounds::MAX_LIST)?;
    shapes.into_iter().map(TryInto::try_into).collect()
}

impl TryFrom<wire::InputShape> for InputShape {
    type Error = ProtocolError;

    fn try_from(m: wire::InputShape) -> Result<Self, ProtocolError> {
        const M: &str = "InputShape";
        count(M, "dims", &m.dims, bounds::MAX_RANK)?;
        for &dim in &m.dims {
            within(M, "dims", dim, (1, 1 << 31), "a size from 1 to 2147483648")?;
        }
        Ok(Self {
            name: name(M, "name", m.name)?,
            dims: m.dims,
        })
    }
}

impl From<InputShape> for wire::InputShape {
    fn from(shape: InputShape) -> Self {
        Self {
            name: shape.name,
            dims: shape.dims,
        }
    }
}

impl From<ModelRef> for wire::ModelRef {
    fn from(m: ModelRef) -> Self {
        Self {
            name: m.name,
            sha256: m.sha256.0.to_vec(),
            inputs: m.inputs.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<wire::MeasureRequest> for MeasureJob {
    type Error = ProtocolError;

    fn try_from(m: wire::MeasureRequest) -> Result<Self, ProtocolError> {
        const M: &str = "MeasureRequest";
        count(M, "models", &m.models, bounds::MAX_MODELS)?;
        if m.models.is_empty() && m.reference.is_none() {
            return Err(ProtocolError::Missing {
                message: M,
                field: "models",
            });
        }
        let evidence = match m.evidence() {
            wire::Evidence::Quick => Evidence::Quick,
            wire::Evidence::Full => Evidence::Full,
            wire::Evidence::Unspecified => {
                return Err(ProtocolError::field(
                    M,
                    "evidence",
                    m.evidence,
                    "1 (quick) or 2 (full)",
                ));
            }
        };
        let job = Self {
            models: m
                .models
                .into_iter()
                .map(ModelRef::try_from)
                .collect::<Result<_, _>>()?,
            reference: m.reference.map(ModelRef::try_from).transpose()?,
            sampling: need(M, "sampling", m.sampling)?.try_into()?,
            limits: need(M, "limits", m.limits)?.try_into()?,
            evidence,
            runtime: m.runtime.unwrap_or_default().try_into()?,
            conditions: m.conditions.unwrap_or_default().try_into()?,
        };
        job.check_time()?;
        Ok(job)
    }
}

impl MeasureJob {
    /// Whether the worker's time is enough for continuous use and what comes around it. Without continuous use most samples are
    /// enough long before their time is up, so then nothing is foreseen.
    fn check_time(&self) -> Result<(), ProtocolError> {
        let sampling = &self.sampling;
        let models = self.models.len() as u64 + u64::from(self.reference.is_some());
        let need = sampling
            .warmup_ns
            .saturating_mul(models)
            .saturating_add(sampling.sustained_ns)
            .saturating_add(sampling.max_duration_ns);
        if sampling.sustained_ns == 0 || self.limits.time_ns > need {
            return Ok(());
        }
        Err(ProtocolError::field(
            "Limits",
            "time_ns",
            format!("{} where {need} ns are needed", self.limits.time_ns),
            "it must be longer than sampling.warmup_ns of every model, sustained_ns and max_duration_ns together",
        ))
    }
}

impl From<MeasureJob> for wire::MeasureRequest {
    fn from(job: MeasureJob) -> Self {
        let evidence = match job.evidence {
            Evidence::Quick => wire::Evidence::Quick,
            Evidence::Full => wire::Evidence::Full,
        };
        Self {
            models: job.models.into_iter().map(Into::into).collect(),
            reference: job.reference.map(Into::into),
            sampling: Some(job.sampling.into()),
            limits: Some(job.limits.into()),
            evidence: evidence.into(),
            runtime: Some(job.runtime.into()),
            conditions: Some(job.conditions.into()),
        }
    }
}

fn stage(message: &'static str, value: i32) -> Result<Stage, ProtocolError> {
    Ok(match wire::Stage::try_from(value) {
        Ok(wire::Stage::Start) => Stage::Start,
        Ok(wire::Stage::Load) => Stage::Load,
        Ok(wire::Stage::Warmup) => Stage::Warmup,
        Ok(wire::Stage::Sampling) => Stage::Sampling,
        Ok(wire::Stage::Memory) => Stage::Memory,
        Ok(wire::Stage::Profile) => Stage::Profile,
        Ok(wire::Stage::Run) => Stage::Run,
        Ok(wire::Stage::Queued) => Stage::Queued,
        Ok(wire::Stage::Cooling) => Stage::Cooling,
        Ok(wire::Stage::Sustained) => Stage::Sustained,
        Ok(wire::Stage::Unspecified) | Err(_) => {
            return Err(ProtocolError::field(message, "stage", value, "1 to 10"));
        }
    })
}

impl From<Stage> for wire::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Start => Self::Start,
            Stage::Load => Self::Load,
            Stage::Warmup => Self::Warmup,
            Stage::Sampling => Self::Sampling,
            Stage::Memory => Self::Memory,
            Stage::Profile => Self::Profile,
            Stage::Run => Self::Run,
            Stage::Queued => Self::Queued,
            Stage::Cooling => Self::Cooling,
            Stage::Sustained => Self::Sustained,
        }
    }
}

impl TryFrom<wire::Progress> for Progress {
    type Error = ProtocolError;

    fn try_from(m: wire::Progress) -> Result<Self, ProtocolError> {
        Ok(Self {
            stage: stage("Progress", m.stage)?,
            model: name("Progress", "model", m.model)?,
            rounds: m.rounds,
            elapsed_ns: m.elapsed_ns,
            widest_ci_rel: (m.widest_ci_rel.is_finite() && m.widest_ci_rel > 0.0)
                .then_some(m.widest_ci_rel),
            queued: m.queued,
        })
    }
}

impl From<Progress> for wire::Progress {
    fn from(p: Progress) -> Self {
        Self {
            stage: wire::Stage::from(p.stage).into(),
            model: p.model,
            rounds: p.rounds,
            elapsed_ns: p.elapsed_ns,
            widest_ci_rel: p.widest_ci_rel.unwrap_or(0.0),
            queued: p.queued,
        }
    }
}

impl TryFrom<wire::Failure> for Failure {
    type Error = ProtocolError;

    fn try_from(m: wire::Failure) -> Result<Self, ProtocolError> {
        let kind = match wire::FailureKind::try_from(m.kind) {
            Ok(wire::FailureKind::ModelRefused) => FailureKind::ModelRefused,
            Ok(wire::FailureKind::Crashed) => FailureKind::Crashed,
            Ok(wire::FailureKind::TimedOut) => FailureKind::TimedOut,
            Ok(wire::FailureKind::OutOfMemory) => FailureKind::OutOfMemory,
            Ok(wire::FailureKind::RuntimeMissing) => FailureKind::RuntimeMissing,
            Ok(wire::FailureKind::Internal) => FailureKind::Internal,
            Ok(wire::FailureKind::Provider) => FailureKind::Provider,
            Ok(wire::FailureKind::Conditions) => FailureKind::Conditions,
            Ok(wire::FailureKind::Unspecified) | Err(_) => {
                return Err(ProtocolError::field("Failure", "kind", m.kind, "1 to 8"));
            }
        };
        Ok(Self {
            kind,
            stage: stage("Failure", m.stage)?,
            model: name("Failure", "model", m.model)?,
            detail: words("Failure", "detail", m.detail)?,
        })
    }
}

impl From<Failure> for wire::Failure {
    fn from(f: Failure) -> Self {
        let kind = match f.kind {
            FailureKind::ModelRefused => wire::FailureKind::ModelRefused,
            FailureKind::Crashed => wire::FailureKind::Crashed,
            FailureKind::TimedOut => wire::FailureKind::TimedOut,
            FailureKind::OutOfMemory => wire::FailureKind::OutOfMemory,
            FailureKind::RuntimeMissing => wire::FailureKind::RuntimeMissing,
            FailureKind::Internal => wire::FailureKind::Internal,
            FailureKind::Provider => wire::FailureKind::Provider,
            FailureKind::Conditions => wire::FailureKind::Conditions,
        };
        Self {
            kind: kind.into(),
            stage: wire::Stage::from(f.stage).into(),
            model: f.model,
            detail: plain::cut(f.detail, bounds::MAX_TEXT_BYTES),
        }
    }
}

impl TryFrom<wire::MeasureEvent> for MeasureEvent {
    type Error = ProtocolError;

    fn try_from(m: wire::MeasureEvent) -> Result<Self, ProtocolError> {
        use wire::measure_event::Event;
        Ok(match need("MeasureEvent", "event", m.event)? {
            Event::Progress(progress) => Self::Progress(progress.try_into()?),
            Event::Failure(failure) => Self::Failure(failure.try_into()?),
            Event::Results(results) => {
                count(
                    "Results",
                    "measurements",
                    &results.measurements,
                    bounds::MAX_MODELS + 1,
                )?;
                let all = results.measurements.into_iter().map(Measurement::try_from);
                Self::Results(all.collect::<Result<_, _>>()?)
            }
        })
    }
}

impl From<MeasureEvent> for wire::MeasureEvent {
    fn from(event: MeasureEvent) -> Self {
        use wire::measure_event::Event;
        let event = match event {
            MeasureEvent::Progress(progress) => Event::Progress(progress.into()),
            MeasureEvent::Failure(failure) => Event::Failure(failure.into()),
            MeasureEvent::Results(all) => Event::Results(wire::Results {
                measurements: all.into_iter().map(Into::into).collect(),
            }),
        };
        Self { event: Some(event) }
    }
}

impl TryFrom<wire::DeviceInfo> for DeviceInfo {
    type Error = ProtocolError;

    fn try_from(m: wire::DeviceInfo) -> Result<Self, ProtocolError> {
        const M: &str = "DeviceInfo";
        Ok(Self {
            profile: String::new(),
            name: String::new(),
            agent_version: name(M, "agent_version", m.agent_version)?,
            runtime_version: name(M, "runtime_version", m.runtime_version)?,
            cpu_model: name(M, "cpu_model", m.cpu_model)?,
            cores: m.cores,
            memory_bytes: m.memory_bytes,
            os: name(M, "os", m.os)?,
            arch: name(M, "arch", m.arch)?,
            hostname: name(M, "hostname", m.hostname)?,
            providers: names(M, "providers", m.providers)?,
            confinement: names(M, "confinement", m.confinement)?,
            unconfined: missing_layers(m.unconfined)?,
            serial: name(M, "serial", m.serial)?,
            input_shapes: m.input_shapes,
        })
    }
}

impl From<DeviceInfo> for wire::DeviceInfo {
    fn from(d: DeviceInfo) -> Self {
        Self {
            agent_version: d.agent_version,
            runtime_version: d.runtime_version,
            cpu_model: d.cpu_model,
            cores: d.cores,
            memory_bytes: d.memory_bytes,
            os: d.os,
            arch: d.arch,
            hostname: d.hostname,
            providers: d.providers,
            confinement: d.confinement,
            unconfined: d.unconfined.into_iter().map(Into::into).collect(),
            serial: d.serial,
            input_shapes: d.input_shapes,
        }
    }
}

fn missing_layers(all: Vec<wire::MissingLayer>) -> Result<Vec<MissingLayer>, ProtocolError> {
    count("DeviceInfo", "unconfined", &all, bounds::MAX_LIST)?;
    all.into_iter().map(MissingLayer::try_from).collect()
}

impl TryFrom<wire::MissingLayer> for MissingLayer {
    type Error = ProtocolError;

    fn try_from(m: wire::MissingLayer) -> Result<Self, ProtocolError> {
        const M: &str = "MissingLayer";
        Ok(Self {
            layer: name(M, "layer", m.layer)?,
            reason: words(M, "reason", m.reason)?,
            offered: m.offered,
        })
    }
}

impl From<MissingLayer> for wire::MissingLayer {
    fn from(missing: MissingLayer) -> Self {
        Self {
            layer: missing.layer,
            reason: plain::cut(missing.reason, bounds::MAX_TEXT_BYTES),
            offered: missing.offered,
        }
    }
}

/// An upload's header, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upload {
    /// The digest of the whole model.
    pub sha256: crate::Sha256,
    /// The whole model's size, bytes.
    pub size_bytes: u64,
    /// Where the first chunk belongs.
    pub offset_bytes: u64,
}

impl TryFrom<wire::UploadHeader> for Upload {
    type Error = ProtocolError;

    fn try_from(m: wire::UploadHeader) -> Result<Self, ProtocolError> {
        const M: &str = "UploadHeader";
        within(
            M,
            "size_bytes",
            m.size_bytes,
            (1, bounds::MAX_MODEL_BYTES),
            "1 byte to 2 GiB",
        )?;
        within(
            M,
            "offset_bytes",
            m.offset_bytes,
            (0, m.size_bytes),
            "at most the size",
        )?;
        Ok(Self {
            sha256: digest(M, &m.sha256)?,
            size_bytes: m.size_bytes,
            offset_bytes: m.offset_bytes,
        })
    }
}

impl From<Upload> for wire::UploadHeader {
    fn from(u: Upload) -> Self {
        Self {
            sha256: u.sha256.0.to_vec(),
            size_bytes: u.size_bytes,
            offset_bytes: u.offset_bytes,
        }
    }
}

impl TryFrom<&wire::HasModelRequest> for crate::Sha256 {
    type Error = ProtocolError;

    fn try_from(m: &wire::HasModelRequest) -> Result<Self, ProtocolError> {
        digest("HasModelRequest", &m.sha256)
    }
}
