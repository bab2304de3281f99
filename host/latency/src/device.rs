//! A device behind its agent: restarts lost agents and repeats invalid measurements.

use std::time::Duration;

use agent_protocol::{
    DeviceInfo, FailureKind, InputShape, Limits, MeasureJob, Measurement, ModelRef, ProtocolError,
    RunJob, RuntimeOptions, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::processes::measure_over_processes;
use crate::{Client, LatencyError, LatencySource, Launcher, Link, MeasureRequest, Model};

/// The additional delay of each further restart of a lost agent; the first restart has none.
const PAUSE: Duration = Duration::from_secs(1);

/// Limits within which a device recovers before it counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// Time limit for the start of the agent, ns.
    pub start_ns: u64,
    /// Time without a message after which a measuring agent counts as hanging, ns.
    pub silence_ns: u64,
    /// The most restarts of a lost agent within one request.
    pub restarts: u32,
    /// The most repetitions of a measurement that was invalid or whose worker crashed, counted
    /// together. Nothing above a device repeats measurements. A crash in a request of several
    /// models is not repeated: measuring each alone shows which one causes it. Over several
    /// processes, an interval that is too wide is followed by this many times the most processes.
    pub retries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            start_ns: 30_000_000_000,
            silence_ns: 20_000_000_000,
            restarts: 3,
            retries: 2,
        }
    }
}

/// A device behind its agent. An agent that was started for it ends with this value.
pub struct AgentDevice {
    launcher: Box<dyn Launcher>,
    patience: Patience,
    link: Option<Link>,
    device: DeviceInfo,
}

impl AgentDevice {
    /// Starts the agent and connects to it. `profile` is the profile's name, a part of the
    /// device's identity.
    ///
    /// # Errors
    /// Fails if the agent does not start. The error includes the end of its standard error.
    pub fn start(
        launcher: impl Launcher + 'static,
        profile: &str,
        patience: Patience,
    ) -> Result<Self, LatencyError> {
        let mut link = launcher.launch(Duration::from_nanos(patience.start_ns))?;
        let device = DeviceInfo {
            profile: profile.to_owned(),
            ..link.client().device().clone()
        };
        Ok(Self {
            launcher: Box::new(launcher),
            patience,
            link: Some(link),
            device,
        })
    }

    /// Sets the user's name for the device, a part of its identity if it differs from the
    /// profile's.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.device.name);
        self
    }

    /// Sets [`Patience::retries`].
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.patience.retries = retries;
        self
    }

    /// Returns the local process that is the agent or started it, if there is one.
    pub fn agent_pid(&self) -> Option<u32> {
        self.link.as_ref().and_then(Link::pid)
    }

    /// Returns the connection, for calls beyond [`LatencySource`]; `None` while the agent is
    /// lost.
    pub fn client(&mut self) -> Option<&mut Client> {
        self.link.as_mut().map(Link::client)
    }

    /// Runs a model with a single float input once and returns its first output, row-major.
    /// `input` is row-major with NCHW `shape`. The worker has the default [`Limits`] and one
    /// thread.
    ///
    /// # Errors
    /// [`LatencyError::Protocol`] if `shape` does not match `input` or the input is too large;
    /// [`LatencyError::Failed`] if the model does not accept the input, its first output is not a
    /// tensor of floats or too large, or the worker failed; others if the agent failed.
    pub fn run(
        &mut self,
        model: &Model,
        input: &[f32],
        shape: &[usize; 4],
        runtime: &RuntimeOptions,
    ) -> Result<Vec<f32>, LatencyError> {
        let shape = shape.iter().map(|&dim| dim as u64).collect();
        self.run_job(model, (reference_to(model), input, shape), runtime)
    }

    /// Runs a model with inputs of these sizes once and returns all its outputs of floats, one
    /// after the other, row-major. `input` holds the inputs likewise, in the order of `shapes`. The
    /// worker has the default [`Limits`] and one thread.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_named(
        &mut self,
        model: &Model,
        input: &[f32],
        shapes: &[InputShape],
        runtime: &RuntimeOptions,
    ) -> Result<Vec<f32>, LatencyError> {
        let reference = ModelRef {
            inputs: shapes.to_vec(),
            ..reference_to(model)
        };
        let shape = vec![input.len() as u64];
        self.run_job(model, (reference, input, shape), runtime)
    }

    fn run_job(
        &mut self,
        model: &Model,
        (reference, input, shape): (ModelRef, &[f32], Vec<u64>),
        runtime: &RuntimeOptions,
    ) -> Result<Vec<f32>, LatencyError> {
        let job = RunJob {
            model: reference,
            input: input.to_vec(),
            shape,
            limits: Limits::default(),
            runtime: runtime.clone(),
        };
        job.check()?;
        self.with_agent("running a model", |client| {
            client.upload(model)?;
            Ok(client.run(job.clone())?.output)
        })
    }

    /// Runs `task` on a connected agent; restarts a lost one and repeats the task.
    fn with_agent<T>(
        &mut self,
        doing: &'static str,
        mut task: impl FnMut(&mut Client) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        let mut lost = 0;
        loop {
            let outcome = match self.link.as_mut() {
                Some(link) => task(link.client()),
                None => match self
                    .launcher
                    .launch(Duration::from_nanos(self.patience.start_ns))
                {
                    Ok(link) => task(self.link.insert(link).client()),
                    Err(LatencyError::AgentStart { place, detail }) => {
                        Err(LatencyError::Connection {
                            call: "starting the agent",
                            detail: format!("{place}: {detail}"),
                        })
                    }
                    Err(error) => Err(error),
                },
            };
            match outcome {
                Err(error) if error.is_agent_lost() => {
                    lost += 1;
                    let words = self.link.take().map(Link::give_up).unwrap_or_default();
                    let detail = if words.is_empty() {
                        error.to_string()
                    } else {
                        format!("{error} ({words})")
                    };
                    tracing::warn!(
                        lost,
                        detail,
                        place = self.launcher.place(),
                        "the agent was lost"
                    );
                    if lost > self.patience.restarts {
                        return Err(LatencyError::AgentLost {
                            times: lost,
                            doing,
                            detail,
                        });
                    }
                    // A pulled cable or a rebooting device takes time to come back.
                    std::thread::sleep(PAUSE * (lost - 1).min(10));
                }
                outcome => return outcome,
            }
        }
    }

    /// Measures once, whatever the verdict.
    fn measure_once(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let job = MeasureJob {
            models: request.models.iter().map(reference_to).collect(),
            reference: request.reference.as_ref().map(reference_to),
            sampling: request.sampling.clone(),
            limits: request.limits.clone(),
            evidence: request.evidence,
            runtime: request.runtime.clone(),
            conditions: request.conditions.clone(),
            reversed: request.reversed,
        };
        let silence = Duration::from_nanos(self.patience.silence_ns);
        self.with_agent("measuring", |client| {
            for model in request.models.iter().chain(&request.reference) {
                client.upload(model)?;
            }
            client.measure(&job, silence, &mut |step| {
                tracing::trace!(stage = %step.stage, rounds = step.rounds, ci = step.widest_ci_rel, "measuring");
            })
        })
    }

    /// Measures, and repeats after a crash of the worker while retries are left.
    fn measure_despite_crashes(
        &mut self,
        request: &MeasureRequest,
        left: &mut u32,
    ) -> Result<Vec<Measurement>, LatencyError> {
        loop {
            match self.measure_once(request) {
                Err(LatencyError::Failed(failure))
                    if failure.kind == FailureKind::Crashed
                        && request.models.len() <= 1
                        && *left > 0 =>
                {
                    *left -= 1;
                    tracing::warn!(%failure, "the worker crashed; measuring again");
                }
                outcome => return outcome,
            }
        }
    }
}

fn reference_to(model: &Model) -> ModelRef {
    ModelRef {
        name: model.name().to_owned(),
        sha256: model.sha256(),
        inputs: model.inputs().to_vec(),
    }
}

impl LatencySource for AgentDevice {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        request
            .sampling
            .check()
            .and_then(|()| request.limits.check())
            .and_then(|()| request.runtime.check())
            .and_then(|()| request.conditions.check())?;
        if request.models.is_empty() && request.reference.is_none() {
            return Err(ProtocolError::Missing {
                message: "MeasureRequest",
                field: "models",
            }
            .into());
        }
        let models = request.models.iter().chain(&request.reference);
        // An older agent would ignore the sizes and choose its own.
        if !self.device.input_shapes
            && let Some(sized) = models.into_iter().find(|model| !model.inputs().is_empty())
        {
            return Err(LatencyError::Model {
                name: sized.name().to_owned(),
                detail: format!(
                    "the agent {} on the device cannot make inputs of given sizes; bring a newer one with `graphprune device deploy`",
                    self.device.agent_version
                ),
            });
        }
        let mut left = self.patience.retries;
        if request.processes.most > 1 {
            // A process without a usable figure is replaced by the next one.
            let retries = left;
            return measure_over_processes(request, retries, |one| {
                self.measure_despite_crashes(one, &mut left)
            });
        }
        let mut results = self.measure_despite_crashes(request, &mut left)?;
        while left > 0 {
            let invalid: Vec<usize> = results
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.is_valid())
                .map(|(i, _)| i)
                .collect();
            let Some(&first) = invalid.first() else { break };
            if let Verdict::Invalid { reason } = &results[first].verdict {
                tracing::info!(
                    model = results[first].name,
                    reason,
                    "an invalid measurement; measuring again"
                );
            }
            let models: Vec<Model> = invalid
                .iter()
                .filter_map(|&i| request.models.get(i))
                .cloned()
                .collect();
            left -= 1;
            let again = MeasureRequest {
                models,
                ..request.clone()
            };
            let again = match self.measure_despite_crashes(&again, &mut left) {
                // The results so far are kept if the repetition fails.
                Err(LatencyError::Failed(failure)) => {
                    tracing::warn!(%failure, "measuring again failed");
                    break;
                }
                outcome => outcome?,
            };
            // The reference comes last and was measured again even if it was valid.
            let slots = invalid.into_iter().filter(|&i| i < request.models.len());
            for (slot, measurement) in slots.chain(request.models.len()..results.len()).zip(again) {
                results[slot] = measurement;
            }
        }
        Ok(results)
    }

    fn describe(&self) -> DeviceInfo {
        self.device.clone()
    }
}
