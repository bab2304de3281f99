//! One measurement: its passes, each in a worker, put together.

use std::path::Path;
use std::time::Duration;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{
    Evidence, Failure, FailureKind, Limits, MeasureJob, Measurement, NodeProvider, Progress,
    ProtocolError, RunJob, RunOutput, Sampling, Stage, wire,
};
use anyhow::bail;

use crate::models::Pin;
use crate::summary::{Surroundings, measurements};
use crate::{child, device};

/// What a measurement needs besides the job.
pub struct Place<'a> {
    /// ONNX Runtime's library.
    pub library: &'a Path,
    /// The folder workers run in.
    pub folder: &'a Path,
}

impl Place<'_> {
    fn worker_job(
        &self,
        pass: wire::WorkerPass,
        sampling: &Sampling,
        limits: &Limits,
    ) -> wire::WorkerJob {
        wire::WorkerJob {
            runtime_path: self.library.display().to_string(),
            pass: pass.into(),
            models: Vec::new(),
            first_is_reference: false,
            sampling: Some(sampling.clone().into()),
            limits: Some(limits.clone().into()),
            agent_pid: std::process::id(),
            input: Vec::new(),
            shape: Vec::new(),
            runtime: None,
        }
    }
}

/// The version of a runtime's library, asked for in a process of its own.
pub fn runtime_version(library: &Path, folder: &Path) -> anyhow::Result<String> {
    let place = Place { library, folder };
    let job = place.worker_job(
        wire::WorkerPass::Runtime,
        &Sampling::default(),
        &Limits::default(),
    );
    match child::run(&job, folder, Duration::from_secs(60), &mut |_| true) {
        Ok(Event::Runtime(runtime)) => Ok(runtime.version),
        Ok(_) => bail!("the worker did not tell the runtime's version"),
        Err(failure) => bail!("{failure}"),
    }
}

/// Runs a measurement. `pins` are the files of the job's models in order, then of the reference. Must be called on a thread
/// that lives until it returns (see [`child::run`]).
pub fn measure(
    job: &MeasureJob,
    pins: &[Pin],
    place: &Place<'_>,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Vec<Measurement>, Failure> {
    let time = Duration::from_nanos(job.limits.time_ns);
    let names = job
        .models
        .iter()
        .chain(&job.reference)
        .map(|model| model.name.clone());
    let models: Vec<wire::WorkerModel> = names
        .zip(pins)
        .map(|(name, pin)| wire::WorkerModel {
            name,
            path: pin.path.display().to_string(),
        })
        .collect();

    let mut sample = place.worker_job(wire::WorkerPass::Sample, &job.sampling, &job.limits);
    sample.models = models.clone();
    sample.first_is_reference = job.reference.is_some();
    if sample.first_is_reference {
        sample.models.rotate_right(1);
    }
    let before = device::state();
    let samples = match child::run(&sample, place.folder, time, progress)? {
        Event::Samples(samples) => samples,
        _ => return Err(strange(Stage::Sampling, "")),
    };
    let around = Surroundings {
        before,
        after: device::state(),
    };
    let mut all = measurements(job, samples, &around).map_err(|detail| Failure {
        kind: FailureKind::Internal,
        stage: Stage::Sampling,
        model: String::new(),
        detail,
    })?;
    if job.evidence == Evidence::Full {
        for (measurement, model) in all.iter_mut().zip(models) {
            let mut pass = |pass| {
                let mut one = place.worker_job(pass, &job.sampling, &job.limits);
                one.models = vec![model.clone()];
                child::run(&one, place.folder, time, progress)
            };
            match pass(wire::WorkerPass::Memory)? {
                Event::Memory(memory) => measurement.peak_memory_bytes = Some(memory.peak_bytes),
                _ => return Err(strange(Stage::Memory, &measurement.name)),
            }
            match pass(wire::WorkerPass::Profile)? {
                Event::Profile(profile) => measurement.runtime.node_providers = providers(profile)?,
                _ => return Err(strange(Stage::Profile, &measurement.name)),
            }
        }
    }
    Ok(all)
}

/// Runs a model once. `pin` is its file. Must be called on a thread that lives until it returns (see [`child::run`]).
pub fn run(
    job: RunJob,
    pin: &Pin,
    place: &Place<'_>,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<RunOutput, Failure> {
    let mut one = place.worker_job(wire::WorkerPass::Run, &Sampling::default(), &job.limits);
    one.models = vec![wire::WorkerModel {
        name: job.model.name.clone(),
        path: pin.path.display().to_string(),
    }];
    (one.input, one.shape) = (job.input, job.shape);
    let time = Duration::from_nanos(job.limits.time_ns);
    match child::run(&one, place.folder, time, progress)? {
        Event::Output(output) => output.try_into().map_err(|error: ProtocolError| Failure {
            kind: FailureKind::Internal,
            stage: Stage::Run,
            model: job.model.name,
            detail: error.to_string(),
        }),
        _ => Err(strange(Stage::Run, &job.model.name)),
    }
}

fn strange(stage: Stage, model: &str) -> Failure {
    let detail = "the worker answered another question".to_owned();
    Failure {
        kind: FailureKind::Internal,
        stage,
        model: model.to_owned(),
        detail,
    }
}

fn providers(profile: wire::WorkerProfile) -> Result<Vec<NodeProvider>, Failure> {
    profile
        .node_providers
        .into_iter()
        .map(NodeProvider::try_from)
        .collect::<Result<_, _>>()
        .map_err(|error| Failure {
            kind: FailureKind::Internal,
            stage: Stage::Profile,
            model: String::new(),
            detail: error.to_string(),
        })
}
