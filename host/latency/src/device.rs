//! A device through its agent: what is lost is started anew, what is invalid is measured again.

use std::time::Duration;

use agent_protocol::{
    DeviceInfo, FailureKind, Limits, MeasureJob, Measurement, ModelRef, ProtocolError, RunJob,
    RuntimeOptions, Verdict,
};
use serde::{Deserialize, Serialize};

use crate::{Client, LatencyError, LatencySource, Launcher, Link, MeasureRequest, Model};

/// How much longer every further restart of a lost agent waits; the first does not.
const PAUSE: Duration = Duration::from_secs(1);

/// How much is put up with before a device counts as failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Patience {
    /// How long the agent may take to come up, ns.
    pub start_ns: u64,
    /// How long the agent may give no sign of life while it measures before it counts as hanging, ns.
    pub silence_ns: u64,
    /// How often a lost agent is started anew within one request.
    pub restarts: u32,
    /// How often a measurement is repeated that came out invalid or whose worker crashed, both counted together. Nothing above
    /// a device repeats measurements, so each is taken at most once more than this. A crash beside other models is not
    /// repeated: which of them it was shows when each is measured alone.
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

/// One device through its agent. An agent that was started for it ends with this value.
pub struct AgentDevice {
    launcher: Box<dyn Launcher>,
    patience: Patience,
    link: Option<Link>,
    device: DeviceInfo,
}

impl AgentDevice {
    /// Brings the agent up and connects to it. `profile` is the profile's name, part of the device's identity.
    ///
    /// # Errors
    /// When it does not come up; the error holds its last words.
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

    /// Says under which name the user knows the device; part of its identity where it is another than the profile's.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        name.clone_into(&mut self.device.name);
        self
    }

    /// Says how often a measurement is repeated; see [`Patience::retries`].
    #[must_use]
    pub fn with_retries(mut self, retries: u32) -> Self {
        self.patience.retries = retries;
        self
    }

    /// The process of this machine that is the agent or started it, while there is one.
    pub fn agent_pid(&self) -> Option<u32> {
        self.link.as_ref().and_then(Link::pid)
    }

    /// The connection, to ask what [`LatencySource`] does not; `None` when the agent was lost.
    pub fn client(&mut self) -> Option<&mut Client> {
        self.link.as_mut().map(Link::client)
    }

    /// Runs a model once, in a worker process with the default [`Limits`] and one thread, and returns its first output,
    /// row-major. The model has a single input, of floats: it gets `input`, row-major, NCHW `shape`.
    ///
    /// # Errors
    /// [`LatencyError::Protocol`] when `shape` is not that of `input` or the input is too large;
    /// [`LatencyError::Failed`] when the model takes no such input, its first output is no tensor of floats or too large,
    /// or the worker failed; others when the agent did.
    pub fn run(
        &mut self,
        model: &Model,
        input: &[f32],
        shape: &[usize; 4],
        runtime: &RuntimeOptions,
    ) -> Result<Vec<f32>, LatencyError> {
        let job = RunJob {
            model: refer(model),
            input: input.to_vec(),
            shape: shape.iter().map(|&dim| dim as u64).collect(),
            limits: Limits::default(),
            runtime: runtime.clone(),
        };
        job.check()?;
        self.with_agent("running a model", |client| {
            client.upload(model)?;
            Ok(client.run(job.clone())?.output)
        })
    }

    /// Runs `task` on a living agent, starting it anew when it is lost.
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
                    // A cable that was pulled, or a device that restarts, takes its time to come back.
                    std::thread::sleep(PAUSE * (lost - 1).min(10));
                }
                outcome => return outcome,
            }
        }
    }

    /// One measurement without repeats for its verdict.
    fn measure_once(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let job = MeasureJob {
            models: request.models.iter().map(refer).collect(),
            reference: request.reference.as_ref().map(refer),
            sampling: request.sampling.clone(),
            limits: request.limits.clone(),
            evidence: request.evidence,
            runtime: request.runtime.clone(),
            conditions: request.conditions.clone(),
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

    /// One measurement, repeated when its worker crashes as long as retries are left.
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

fn refer(model: &Model) -> ModelRef {
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
        // An older agent would make inputs of the sizes that it thinks of.
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
        let mut results = self.measure_despite_crashes(request, &mut left)?;
        while left > 0 {
            let wrong: Vec<usize> = results
                .iter()
                .enumerate()
                .filter(|(_, m)| !m.is_valid())
                .map(|(i, _)| i)
                .collect();
            let Some(&first) = wrong.first() else { break };
            if let Verdict::Invalid { reason } = &results[first].verdict {
                tracing::info!(
                    model = results[first].name,
                    reason,
                    "an invalid measurement; measuring again"
                );
            }
            let models: Vec<Model> = wrong
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
                // What was measured is not lost with the one that was to be better.
                Err(LatencyError::Failed(failure)) => {
                    tracing::warn!(%failure, "measuring again failed");
                    break;
                }
                outcome => outcome?,
            };
            // The reference comes last and was measured again whether or not it was wrong.
            let slots = wrong.into_iter().filter(|&i| i < request.models.len());
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
