//! A request to measure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::check::{count, list, name, need, within};
use crate::mirror::mirror_enum;
use crate::{Conditions, Limits, ProtocolError, RuntimeOptions, Sampling, Sha256, bounds, wire};

/// How much evidence a measurement comes with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Evidence {
    /// Latency only.
    #[default]
    Quick,
    /// Also the peak memory and each node's execution provider, in passes (and processes) of
    /// their own.
    Full,
}

mirror_enum!(Evidence { Quick, Full }, "1 (quick) or 2 (full)");

/// The sizes of a model's input.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct InputShape {
    /// The input's name.
    pub name: String,
    /// Sizes of its axes, outermost first, each at least 1.
    pub dims: Vec<u64>,
}

impl InputShape {
    /// Checks the sizes that come with a model; `message` is the model's message, for errors.
    pub fn list(
        message: &'static str,
        shapes: Vec<wire::InputShape>,
    ) -> Result<Vec<Self>, ProtocolError> {
        list(message, "inputs", shapes, bounds::MAX_LIST)
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dims: Vec<String> = self.dims.iter().map(u64::to_string).collect();
        write!(f, "{}={}", self.name, dims.join("x"))
    }
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

/// A model that the agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelRef {
    /// Its name in messages.
    pub name: String,
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Sizes of inputs that the model leaves open.
    pub inputs: Vec<InputShape>,
}

impl TryFrom<wire::ModelRef> for ModelRef {
    type Error = ProtocolError;

    fn try_from(m: wire::ModelRef) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: name("ModelRef", "name", m.name)?,
            sha256: Sha256::from_wire("ModelRef", &m.sha256)?,
            inputs: InputShape::list("ModelRef", m.inputs)?,
        })
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

/// What an agent is to measure, and how.
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
    /// How much evidence to collect.
    pub evidence: Evidence,
    /// How the runtime runs the models.
    pub runtime: RuntimeOptions,
    /// What must hold on the device.
    pub conditions: Conditions,
    /// Whether the worker loads and runs the models in the reverse of their usual order, in which
    /// the reference comes first. An older agent ignores it.
    pub reversed: bool,
}

impl MeasureJob {
    /// Checks that the worker's time covers continuous use and the phases around it. Without
    /// continuous use most measurements end long before `max_duration_ns`, so no minimum applies.
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

impl TryFrom<wire::MeasureRequest> for MeasureJob {
    type Error = ProtocolError;

    fn try_from(m: wire::MeasureRequest) -> Result<Self, ProtocolError> {
        const M: &str = "MeasureRequest";
        if m.models.is_empty() && m.reference.is_none() {
            return Err(ProtocolError::Missing {
                message: M,
                field: "models",
            });
        }
        let job = Self {
            models: list(M, "models", m.models, bounds::MAX_MODELS)?,
            reference: m.reference.map(ModelRef::try_from).transpose()?,
            sampling: need(M, "sampling", m.sampling)?.try_into()?,
            limits: need(M, "limits", m.limits)?.try_into()?,
            evidence: Evidence::from_wire(M, "evidence", m.evidence)?,
            runtime: m.runtime.unwrap_or_default().try_into()?,
            conditions: m.conditions.unwrap_or_default().try_into()?,
            reversed: m.reversed,
        };
        job.check_time()?;
        Ok(job)
    }
}

impl From<MeasureJob> for wire::MeasureRequest {
    fn from(job: MeasureJob) -> Self {
        Self {
            models: job.models.into_iter().map(Into::into).collect(),
            reference: job.reference.map(Into::into),
            sampling: Some(job.sampling.into()),
            limits: Some(job.limits.into()),
            evidence: job.evidence.to_wire(),
            runtime: Some(job.runtime.into()),
            conditions: Some(job.conditions.into()),
            reversed: job.reversed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};
    use crate::runtime::tests::options;

    fn job() -> MeasureJob {
        let model = |name: &str| ModelRef {
            name: name.into(),
            sha256: Sha256::of(name.as_bytes()),
            inputs: vec![InputShape {
                name: "x".into(),
                dims: vec![1, 3, 8, 8],
            }],
        };
        MeasureJob {
            models: vec![model("a"), model("b")],
            reference: Some(model("r")),
            sampling: Sampling::default(),
            limits: Limits::default(),
            evidence: Evidence::Full,
            runtime: options(),
            conditions: Conditions {
                max_millicelsius: Some(70_000),
                cool_down_ns: 5,
                governor: Some("performance".into()),
            },
            reversed: true,
        }
    }

    #[test]
    fn a_job_survives_the_wire() {
        assert_survives::<wire::MeasureRequest, _>(&job());
    }

    #[test]
    fn an_invalid_field_is_refused_by_its_name() {
        let check = |spoil: fn(&mut wire::MeasureRequest), needle: &str| {
            assert_refused::<_, MeasureJob>(&wire::MeasureRequest::from(job()), spoil, needle);
        };
        check(|r| (r.models, r.reference) = (vec![], None), "models");
        check(|r| r.models = vec![r.models[0].clone(); 65], "a list of 65");
        check(|r| r.models[0].sha256.truncate(31), "31 bytes");
        check(|r| r.models[0].name = "x\u{7}".into(), "control");
        check(|r| r.models[0].name = "x".repeat(1000), "1000 bytes");
        check(|r| r.models[0].inputs[0].dims[2] = 0, "dims is 0");
        check(|r| r.models[0].inputs[0].dims[2] = u64::MAX, "dims is");
        check(|r| r.models[0].inputs[0].dims = vec![1; 17], "a list of 17");
        check(|r| r.models[0].inputs[0].name = "x\n".into(), "control");
        check(
            |r| r.models[0].inputs = vec![r.models[0].inputs[0].clone(); 65],
            "a list of 65",
        );
        check(|r| r.evidence = 9, "evidence is 9");
        check(|r| r.sampling = None, "sampling");
        check(|r| r.limits = None, "limits");
        check(|r| r.sampling.as_mut().unwrap().threads = 0, "threads is 0");
    }

    #[test]
    fn continuous_use_must_fit_into_the_workers_time() {
        let mut long = job();
        long.sampling.sustained_ns = long.limits.time_ns - 1;
        assert_refused::<_, MeasureJob>(&wire::MeasureRequest::from(long), |_| {}, "sustained_ns");
    }
}
