//! Messages to checked types and back: a single run and its output.

use crate::check::{count, digest, name, need};
use crate::types::{ModelRef, RunJob, RunOutput};
use crate::{ProtocolError, bounds, wire};

/// Whether a tensor is of a size that is accepted and its shape is that of its values.
fn tensor(
    message: &'static str,
    field: &'static str,
    values: &[f32],
    shape: &[u64],
) -> Result<(), ProtocolError> {
    count(message, "shape", shape, bounds::MAX_RANK)?;
    count(message, field, values, bounds::MAX_RUN_ELEMENTS)?;
    let product = shape
        .iter()
        .try_fold(1u64, |all, &dim| all.checked_mul(dim));
    if product == Some(values.len() as u64) {
        Ok(())
    } else {
        let found = format!("{shape:?} for {} values", values.len());
        Err(ProtocolError::field(
            message,
            "shape",
            found,
            "its product must be the number of values",
        ))
    }
}

impl RunJob {
    /// Whether the input has its shape and every field a sensible value; the error names the first that has not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "RunRequest";
        if self.input.is_empty() {
            return Err(ProtocolError::Missing {
                message: M,
                field: "input",
            });
        }
        tensor(M, "input", &self.input, &self.shape)?;
        self.runtime.check()?;
        self.limits.check()
    }
}

impl TryFrom<wire::RunRequest> for RunJob {
    type Error = ProtocolError;

    fn try_from(m: wire::RunRequest) -> Result<Self, ProtocolError> {
        const M: &str = "RunRequest";
        let job = Self {
            model: ModelRef {
                name: name(M, "name", m.name)?,
                sha256: digest(M, &m.sha256)?,
                inputs: Vec::new(),
            },
            input: m.input,
            shape: m.shape,
            limits: need(M, "limits", m.limits)?.try_into()?,
            runtime: m.runtime.unwrap_or_default().try_into()?,
        };
        job.check()?;
        Ok(job)
    }
}

impl From<RunJob> for wire::RunRequest {
    fn from(job: RunJob) -> Self {
        Self {
            sha256: job.model.sha256.0.to_vec(),
            name: job.model.name,
            input: job.input,
            shape: job.shape,
            limits: Some(job.limits.into()),
            runtime: Some(job.runtime.into()),
        }
    }
}

impl TryFrom<wire::RunOutput> for RunOutput {
    type Error = ProtocolError;

    fn try_from(m: wire::RunOutput) -> Result<Self, ProtocolError> {
        tensor("RunOutput", "output", &m.output, &m.shape)?;
        Ok(Self {
            output: m.output,
            shape: m.shape,
        })
    }
}

impl From<RunOutput> for wire::RunOutput {
    fn from(o: RunOutput) -> Self {
        Self {
            output: o.output,
            shape: o.shape,
        }
    }
}
