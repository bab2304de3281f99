//! The passes of the full evidence, peak memory and node providers, and the single run.

use std::path::Path;

use agent_protocol::{InputShape, Stage, wire};

use super::error::WorkerError;
use super::events::Events;
use super::model::{self, Bench, Runner};
use super::named;
use super::placement;

/// Runs in a pass without timing: enough for the arena to reach its size.
const RUNS: usize = 3;

/// Returns the model of a pass that has one.
pub fn only_model(job: &wire::WorkerJob) -> Result<&wire::WorkerModel, WorkerError> {
    match job.models.as_slice() {
        [model] => Ok(model),
        models => Err(WorkerError::internal(format!(
            "the pass is for one model, not {}",
            models.len()
        ))),
    }
}

/// Measures how much the model raises the peak memory of this process.
pub fn memory(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerMemory, WorkerError> {
    let model = only_model(job)?;
    events.enter(Stage::Memory, &model.name);
    let before = peak_bytes()?;
    let mut runner = Runner::load(bench, model, None)?;
    for _ in 0..RUNS {
        runner.run()?;
    }
    Ok(wire::WorkerMemory {
        peak_bytes: peak_bytes()?.saturating_sub(before),
    })
}

/// Returns the peak resident size of this process.
fn peak_bytes() -> Result<u64, WorkerError> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(WorkerError::internal)?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .map(|kib| kib * 1024)
        .ok_or_else(|| WorkerError::internal("/proc/self/status has no VmHWM"))
}

/// Runs the model on the job's input and returns its first output, or all.
pub fn run(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::RunOutput, WorkerError> {
    let model = only_model(job)?;
    events.enter(Stage::Load, &model.name);
    let mut opened = model::open(bench, Path::new(&model.path), None)?;
    events.enter(Stage::Run, &model.name);
    let session = &mut opened.session;
    if model.inputs.is_empty() {
        return model::run_on(session, &job.input, &job.shape);
    }
    let shapes = InputShape::list("WorkerModel", model.inputs.clone());
    let shapes = shapes.map_err(WorkerError::internal)?;
    named::run(session, &job.input, &shapes)
}

/// Finds each node's execution provider and mean time.
pub fn profile(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerProfile, WorkerError> {
    let model = only_model(job)?;
    events.enter(Stage::Profile, &model.name);
    let node_providers = placement::profile(bench, model)?;
    Ok(wire::WorkerProfile { node_providers })
}
