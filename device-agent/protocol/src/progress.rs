//! What an agent reports while it measures.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::{line, list, name, need};
use crate::mirror::mirror_enum;
use crate::{Measurement, ProtocolError, bounds, plain, wire};

/// The stage a measurement has reached, or in which it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The worker starts and loads ONNX Runtime.
    Start,
    /// A model is loaded.
    Load,
    /// Runs that are not counted.
    Warmup,
    /// Runs that are counted.
    Sampling,
    /// The pass that finds the peak memory.
    Memory,
    /// The pass that finds each node's provider.
    Profile,
    /// A single run for its output.
    Run,
    /// Other measurements come first.
    Queued,
    /// The device is too hot and cools down.
    Cooling,
    /// The models run without a pause before they are sampled.
    Sustained,
}

mirror_enum!(
    Stage {
        Start,
        Load,
        Warmup,
        Sampling,
        Memory,
        Profile,
        Run,
        Queued,
        Cooling,
        Sustained
    },
    "1 to 10"
);

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

/// The progress of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What the worker does.
    pub stage: Stage,
    /// The model at work; empty when it is all of them.
    pub model: String,
    /// Completed rounds.
    pub rounds: u32,
    /// Time since sampling began, ns.
    pub elapsed_ns: u64,
    /// Half the widest interval relative to its median; `None` before there is one.
    pub widest_ci_rel: Option<f64>,
    /// Measurements that come first while this one is queued.
    pub queued: u32,
}

impl Progress {
    /// Returns the progress at the start of a stage.
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

impl TryFrom<wire::Progress> for Progress {
    type Error = ProtocolError;

    fn try_from(m: wire::Progress) -> Result<Self, ProtocolError> {
        const M: &str = "Progress";
        Ok(Self {
            stage: Stage::from_wire(M, "stage", m.stage)?,
            model: name(M, "model", m.model)?,
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
            stage: p.stage.to_wire(),
            model: p.model,
            rounds: p.rounds,
            elapsed_ns: p.elapsed_ns,
            widest_ci_rel: p.widest_ci_rel.unwrap_or(0.0),
            queued: p.queued,
        }
    }
}

/// Why a measurement failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// ONNX Runtime does not accept the model, or the model needs what the agent refuses.
    ModelRefused,
    /// The worker ended by a signal or with an error.
    Crashed,
    /// The worker was still running when its time was up.
    TimedOut,
    /// The worker needed more memory than its limit.
    OutOfMemory,
    /// ONNX Runtime itself could not be loaded.
    RuntimeMissing,
    /// A fault of the agent or its system.
    Internal,
    /// An execution provider is missing, or a node fell back to the CPU under strict options.
    Provider,
    /// The device did not reach the state that the conditions require.
    Conditions,
}

mirror_enum!(
    FailureKind {
        ModelRefused,
        Crashed,
        TimedOut,
        OutOfMemory,
        RuntimeMissing,
        Internal,
        Provider,
        Conditions,
    },
    "1 to 8"
);

/// A measurement that failed while the agent itself goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The cause.
    pub kind: FailureKind,
    /// The stage in which it failed.
    pub stage: Stage,
    /// The model at work; empty when it was none or all of them.
    pub model: String,
    /// The details: a signal's name, the runtime's message, the limit.
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

impl TryFrom<wire::Failure> for Failure {
    type Error = ProtocolError;

    fn try_from(m: wire::Failure) -> Result<Self, ProtocolError> {
        const M: &str = "Failure";
        Ok(Self {
            kind: FailureKind::from_wire(M, "kind", m.kind)?,
            stage: Stage::from_wire(M, "stage", m.stage)?,
            model: name(M, "model", m.model)?,
            detail: line(M, "detail", m.detail)?,
        })
    }
}

impl From<Failure> for wire::Failure {
    fn from(f: Failure) -> Self {
        Self {
            kind: f.kind.to_wire(),
            stage: f.stage.to_wire(),
            model: f.model,
            detail: plain::cut(f.detail, bounds::MAX_TEXT_BYTES),
        }
    }
}

/// An event of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub enum MeasureEvent {
    /// The measurement goes on.
    Progress(Progress),
    /// The end: one measurement a model, in the request's order, then the reference's, if there
    /// was one.
    Results(Vec<Measurement>),
    /// The end, without results.
    Failure(Failure),
}

impl TryFrom<wire::MeasureEvent> for MeasureEvent {
    type Error = ProtocolError;

    fn try_from(m: wire::MeasureEvent) -> Result<Self, ProtocolError> {
        use wire::measure_event::Event;
        Ok(match need("MeasureEvent", "event", m.event)? {
            Event::Progress(progress) => Self::Progress(progress.try_into()?),
            Event::Failure(failure) => Self::Failure(failure.try_into()?),
            Event::Results(results) => Self::Results(list(
                "Results",
                "measurements",
                results.measurements,
                bounds::MAX_MODELS + 1,
            )?),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};

    #[test]
    fn events_survive_the_wire_and_are_checked() {
        let progress = Progress {
            rounds: 3,
            widest_ci_rel: Some(0.5),
            ..Progress::at(Stage::Sampling)
        };
        assert_survives::<wire::MeasureEvent, _>(&MeasureEvent::Progress(progress));
        let failure = Failure {
            kind: FailureKind::Crashed,
            stage: Stage::Load,
            model: "m".into(),
            detail: "SIGSEGV".into(),
        };
        assert_survives::<wire::MeasureEvent, _>(&MeasureEvent::Failure(failure.clone()));
        let check = |spoil: fn(&mut wire::Failure), needle: &str| {
            assert_refused::<_, Failure>(&wire::Failure::from(failure.clone()), spoil, needle);
        };
        check(|f| f.kind = 0, "kind is 0");
        check(|f| f.kind = 9, "kind is 9");
        check(|f| f.stage = 11, "stage is 11");
        check(|f| f.model = "\u{1b}[2J".into(), "control");
    }
}
