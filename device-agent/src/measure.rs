//! The passes of one measurement, each in a worker.

use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{
    Evidence, Failure, FailureKind, MeasureJob, Measurement, ModelRef, NodeProvider, Progress,
    ProtocolError, RunJob, RunOutput, Sampling, Stage, wire,
};

use crate::device::System;
use crate::models::Pin;
use crate::runtime::Runtime;
use crate::summary::{Surroundings, measurements};
use crate::{child, conditions};

/// Runs a measurement. `pins` are the files of the job's models in order, then of the reference.
pub fn measure(
    job: &MeasureJob,
    pins: &[Pin],
    runtime: &Runtime,
    system: &System,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Vec<Measurement>, Failure> {
    let time = Duration::from_nanos(job.limits.time_ns);
    let refs = job.models.iter().chain(&job.reference);
    let models: Vec<_> = refs
        .zip(pins)
        .map(|(model, pin)| worker_model(model, pin))
        .collect();

    conditions::cool_down(&job.conditions, system, progress)?;
    let worker_job = |pass| runtime.job(pass, &job.sampling, &job.limits, &job.runtime);
    let mut sample = worker_job(wire::WorkerPass::Sample);
    sample.models = models.clone();
    sample.first_is_reference = job.reference.is_some();
    sample.reversed = job.reversed;
    if sample.first_is_reference {
        sample.models.rotate_right(1);
    }
    let (before, begun) = (system.state(), Instant::now());
    let Event::Samples(samples) = child::run(&sample, time, progress)? else {
        return Err(unexpected_event(Stage::Sampling, ""));
    };
    let around = Surroundings {
        before,
        after: system.state(),
        elapsed: begun.elapsed(),
    };
    let mut all = measurements(job, samples, &around)
        .map_err(|detail| internal(Stage::Sampling, "", detail))?;
    if job.evidence == Evidence::Full {
        for (measurement, model) in all.iter_mut().zip(models) {
            let mut pass = |pass| {
                let mut one = worker_job(pass);
                one.models = vec![model.clone()];
                child::run(&one, time, progress)
            };
            let Event::Memory(memory) = pass(wire::WorkerPass::Memory)? else {
                return Err(unexpected_event(Stage::Memory, &measurement.name));
            };
            measurement.peak_memory_bytes = Some(memory.peak_bytes);
            let Event::Profile(profile) = pass(wire::WorkerPass::Profile)? else {
                return Err(unexpected_event(Stage::Profile, &measurement.name));
            };
            measurement.runtime.node_providers = nodes(profile)?;
        }
    }
    Ok(all)
}

/// Runs a model once. `pin` is its file.
pub fn run(
    job: RunJob,
    pin: &Pin,
    runtime: &Runtime,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<RunOutput, Failure> {
    let sampling = Sampling::default();
    let mut one = runtime.job(wire::WorkerPass::Run, &sampling, &job.limits, &job.runtime);
    one.models = vec![worker_model(&job.model, pin)];
    (one.input, one.shape) = (job.input, job.shape);
    let time = Duration::from_nanos(job.limits.time_ns);
    let Event::Output(output) = child::run(&one, time, progress)? else {
        return Err(unexpected_event(Stage::Run, &job.model.name));
    };
    output
        .try_into()
        .map_err(|error: ProtocolError| internal(Stage::Run, &job.model.name, error.to_string()))
}

fn worker_model(model: &ModelRef, pin: &Pin) -> wire::WorkerModel {
    wire::WorkerModel {
        name: model.name.clone(),
        path: pin.path.display().to_string(),
        inputs: model.inputs.iter().cloned().map(Into::into).collect(),
    }
}

fn internal(stage: Stage, model: &str, detail: String) -> Failure {
    Failure {
        kind: FailureKind::Internal,
        stage,
        model: model.to_owned(),
        detail,
    }
}

fn unexpected_event(stage: Stage, model: &str) -> Failure {
    let detail = "the worker sent the result of another pass".to_owned();
    internal(stage, model, detail)
}

fn nodes(profile: wire::WorkerProfile) -> Result<Vec<NodeProvider>, Failure> {
    let nodes = profile.node_providers.into_iter();
    nodes
        .map(NodeProvider::try_from)
        .collect::<Result<_, _>>()
        .map_err(|error| internal(Stage::Profile, "", error.to_string()))
}
