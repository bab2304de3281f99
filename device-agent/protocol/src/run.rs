//! A single run and its output.

use crate::check::{count, name, need};
use crate::mirror::mirror_struct;
use crate::{InputShape, Limits, ModelRef, ProtocolError, RuntimeOptions, Sha256, bounds, wire};

/// Checks that a tensor is not too large and its shape fits its values.
fn check_tensor(
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
        return Ok(());
    }
    Err(ProtocolError::field(
        message,
        "shape",
        format!("{shape:?} for {} values", values.len()),
        "its product must be the number of values",
    ))
}

/// A request to run a model once.
#[derive(Clone, Debug, PartialEq)]
pub struct RunJob {
    /// The model. It has a single input, of floats, unless it comes with the sizes of all inputs:
    /// `input` then holds them one after the other in this order, and all outputs of floats are
    /// returned likewise.
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

impl RunJob {
    /// Checks that the shape fits the input and every field is within its bounds; the error names
    /// the first that is not.
    pub fn check(&self) -> Result<(), ProtocolError> {
        const M: &str = "RunRequest";
        if self.input.is_empty() {
            return Err(ProtocolError::Missing {
                message: M,
                field: "input",
            });
        }
        check_tensor(M, "input", &self.input, &self.shape)?;
        let sizes = self.model.inputs.iter().map(|of| &of.dims);
        let size = |dims: &Vec<u64>| dims.iter().try_fold(1u64, |all, &dim| all.checked_mul(dim));
        let total = sizes
            .map(size)
            .try_fold(0u64, |all, of| all.checked_add(of?));
        if !self.model.inputs.is_empty() && total != Some(self.input.len() as u64) {
            return Err(ProtocolError::field(
                M,
                "inputs",
                format!("sizes of {total:?} values for {}", self.input.len()),
                "together they must be as many as there are values",
            ));
        }
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
                sha256: Sha256::from_wire(M, &m.sha256)?,
                inputs: InputShape::list(M, m.inputs)?,
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
            inputs: job.model.inputs.into_iter().map(Into::into).collect(),
            input: job.input,
            shape: job.shape,
            limits: Some(job.limits.into()),
            runtime: Some(job.runtime.into()),
        }
    }
}

/// A model's first output, or all its outputs of floats one after the other.
#[derive(Clone, Debug, PartialEq)]
pub struct RunOutput {
    /// The values, row-major.
    pub output: Vec<f32>,
    /// Their shape; empty for a scalar.
    pub shape: Vec<u64>,
}

impl RunOutput {
    fn check(&self) -> Result<(), ProtocolError> {
        check_tensor("RunOutput", "output", &self.output, &self.shape)
    }
}

mirror_struct!(RunOutput { output, shape });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::{assert_refused, assert_survives};
    use crate::runtime::tests::options;

    fn job() -> RunJob {
        RunJob {
            model: ModelRef {
                name: "m".into(),
                sha256: Sha256::of(b"m"),
                inputs: Vec::new(),
            },
            input: vec![0.0; 12],
            shape: vec![1, 3, 2, 2],
            limits: Limits::default(),
            runtime: options(),
        }
    }

    #[test]
    fn a_run_and_its_output_survive_the_wire() {
        assert_survives::<wire::RunRequest, _>(&job());
        let named = |name: &str, dims: &[u64]| InputShape {
            name: name.into(),
            dims: dims.to_vec(),
        };
        let mut several = job();
        several.model.inputs = vec![named("x", &[2, 5]), named("y", &[2])];
        assert_survives::<wire::RunRequest, _>(&several);
        assert_survives::<wire::RunOutput, _>(&RunOutput {
            output: vec![1.5],
            shape: vec![],
        });
    }

    #[test]
    fn an_input_that_does_not_fit_its_shape_is_refused() {
        let check = |spoil: fn(&mut wire::RunRequest), needle: &str| {
            assert_refused::<_, RunJob>(&wire::RunRequest::from(job()), spoil, needle);
        };
        check(|r| r.shape[0] = 2, "shape is [2, 3, 2, 2] for 12 values");
        check(|r| r.shape = vec![u64::MAX, 2], "shape");
        check(|r| r.shape = vec![1; 17], "a list of 17");
        check(|r| r.input = vec![0.0; (1 << 24) + 1], "too long");
        check(|r| (r.input, r.shape) = (vec![], vec![0]), "input");
        check(|r| r.sha256.clear(), "0 bytes");
        check(|r| r.limits = None, "limits");
        let eleven = |r: &mut wire::RunRequest| {
            let (name, dims) = ("x".into(), vec![11]);
            r.inputs = vec![wire::InputShape { name, dims }];
        };
        check(eleven, "inputs");
    }
}
