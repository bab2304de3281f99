//! The passes of the full evidence: peak memory, and where each node ran.

use std::path::Path;

use agent_protocol::{Stage, wire};

use super::model::{self, Bench, Runner};
use super::{Events, Trouble, placement};

/// Runs of a model in a pass that takes no times: enough for the arena to reach its size.
const RUNS: usize = 3;

fn only_model(job: &wire::WorkerJob) -> Result<&wire::WorkerModel, Trouble> {
    match job.models.as_slice() {
        [model] => Ok(model),
        models => Err(Trouble::internal(format!(
            "the pass is for one model, not {}",
            models.len()
        ))),
    }
}

/// How much more memory this process held at its peak with the model than before it.
pub fn memory(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerMemory, Trouble> {
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

/// The largest resident size this process ever had.
fn peak_bytes() -> Result<u64, Trouble> {
    let status = std::fs::read_to_string("/proc/self/status").map_err(Trouble::internal)?;
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
        .ok_or_else(|| Trouble::internal("/proc/self/status tells no VmHWM"))
}

/// The model's first output for the job's input.
pub fn run(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::RunOutput, Trouble> {
    let model = only_model(job)?;
    events.enter(Stage::Load, &model.name);
    let mut opened = model::open(bench, Path::new(&model.path), None)?;
    events.enter(Stage::Run, &model.name);
    model::run_on(&mut opened.session, &job.input, &job.shape)
}

/// Which execution provider ran each node, and how long it took on average.
pub fn profile(
    job: &wire::WorkerJob,
    bench: &Bench,
    events: &mut Events,
) -> Result<wire::WorkerProfile, Trouble> {
    let model = only_model(job)?;
    events.enter(Stage::Profile, &model.name);
    let node_providers = placement::profile(bench, model)?;
    Ok(wire::WorkerProfile { node_providers })
}
