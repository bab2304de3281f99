//! The worker: one pass of one measurement in a process of its own.
//!
//! It reads one job from standard input, answers with events on standard output and ends. It
//! confines itself before it opens a model, and the kernel kills it when the agent ends.

mod confine;
mod error;
mod events;
mod input;
mod layer;
mod model;
mod named;
#[cfg(feature = "probe")]
mod on_board;
mod passes;
mod placement;
pub mod providers;
mod sample;
mod sentinel;
mod syscalls;
mod validate;

pub use confine::{LIBRARIES, tie_to};
pub use error::is_out_of_memory;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Limits, RuntimeOptions, Sampling, bounds, frame, wire};
use anyhow::Context;
use nix::unistd::{dup, dup2_stdout};

use confine::Confinement;
use error::WorkerError;
use events::Events;

/// Runs the worker from its job to its final event.
pub fn main() -> anyhow::Result<()> {
    // Libraries that print to standard output must not write between the frames.
    let pipe = File::from(dup(std::io::stdout()).context("taking over standard output")?);
    dup2_stdout(std::io::stderr()).context("pointing standard output to standard error")?;
    let mut from = BufReader::new(std::io::stdin());
    let job = frame::read::<wire::WorkerJob>(&mut from, "WorkerJob", bounds::MAX_REPLY_BYTES)?
        .context("standard input ended without a job")?;
    let mut events = Events::new(pipe);
    let outcome = work(&job, &mut events);
    events.finish(outcome);
    Ok(())
}

fn work(job: &wire::WorkerJob, events: &mut Events) -> Result<Event, WorkerError> {
    let limits = job.limits.unwrap_or_default();
    let limits = Limits::try_from(limits).map_err(WorkerError::internal)?;
    let sampling = job.sampling.clone().unwrap_or_default();
    let sampling = Sampling::try_from(sampling).map_err(WorkerError::internal)?;
    let options = job.runtime.clone().unwrap_or_default();
    let options = RuntimeOptions::try_from(options).map_err(WorkerError::internal)?;
    confine::limit(job.agent_pid, &limits, &sampling).map_err(WorkerError::internal)?;
    if !job.board.is_empty() {
        return on_board(job, events);
    }
    let library = Path::new(&job.runtime_path);
    if job.pass() == wire::WorkerPass::Libraries {
        return find_libraries(library);
    }
    let folder = Path::new(&job.folder);
    let models = job.models.iter().map(|model| PathBuf::from(&model.path));
    let libraries = job.library_folders.iter().map(PathBuf::from);
    let confinement = confine::seal(&confine::Reach {
        folder,
        readable: models.chain(libraries).collect(),
        sockets: providers::sockets(&options),
    });
    if !job.models.is_empty() && !job.allow_unconfined {
        require(&confinement)?;
    }
    let version = model::runtime_version(library).map_err(WorkerError::runtime)?;
    let runtime = ort::init_from(library)
        .map_err(WorkerError::runtime)?
        .with_name("graphprune-agent")
        .with_telemetry(false)
        .build()
        .map_err(WorkerError::runtime)?;
    // Not before the library is loaded: its dependencies may be found relative to the folder
    // that the agent was started in.
    std::env::set_current_dir(folder).map_err(|error| {
        WorkerError::internal(format!("entering {}: {error}", folder.display()))
    })?;
    let bench = model::Bench {
        runtime,
        sampling,
        options,
        offered: providers::offered()?,
    };
    match job.pass() {
        wire::WorkerPass::Sample => {
            let mut samples = sample::pass(job, &bench, events)?;
            samples.runtime_version = version;
            samples.notes.extend(confinement.notes());
            samples.notes.extend(denied_calls());
            samples.confinement = confinement.in_effect;
            Ok(Event::Samples(samples))
        }
        wire::WorkerPass::Memory => passes::memory(job, &bench, events).map(Event::Memory),
        wire::WorkerPass::Profile => passes::profile(job, &bench, events).map(Event::Profile),
        wire::WorkerPass::Run => passes::run(job, &bench, events).map(Event::Output),
        wire::WorkerPass::Runtime => Ok(Event::Runtime(wire::WorkerRuntime {
            version,
            providers: bench.offered,
            confinement: confinement.in_effect,
            unconfined: confinement.missing.into_iter().map(Into::into).collect(),
            chip: None,
        })),
        wire::WorkerPass::Libraries => Err(WorkerError::internal("the pass ended before")),
        wire::WorkerPass::Unspecified => Err(WorkerError::internal("the job names no pass")),
    }
}

/// Runs the pass on a board.
#[cfg(feature = "probe")]
fn on_board(job: &wire::WorkerJob, events: &mut Events) -> Result<Event, WorkerError> {
    on_board::work(job, events)
}

/// Refuses the pass: this agent cannot open a probe.
#[cfg(not(feature = "probe"))]
fn on_board(_job: &wire::WorkerJob, _events: &mut Events) -> Result<Event, WorkerError> {
    Err(WorkerError::runtime(
        "this agent was built without support for debug probes: build it with the feature `probe`",
    ))
}

/// Loads the library and returns the folders of it and its dependencies.
fn find_libraries(library: &Path) -> Result<Event, WorkerError> {
    let _loaded = model::load_library(library).map_err(WorkerError::runtime)?;
    let folders = confine::library_folders();
    Ok(Event::Libraries(wire::WorkerLibraries {
        folders: folders
            .iter()
            .map(|folder| folder.display().to_string())
            .collect(),
    }))
}

/// A note on the system calls that confinement denied so far.
fn denied_calls() -> Option<String> {
    let calls = syscalls::denied();
    (!calls.is_empty()).then(|| {
        format!(
            "confinement denied system calls of the runtime or the model: {}",
            calls.join(", ")
        )
    })
}

/// Refuses to run a model without a layer that the kernel offers.
fn require(confinement: &Confinement) -> Result<(), WorkerError> {
    let broken: Vec<String> = confinement
        .broken()
        .map(|missing| format!("{} ({})", missing.layer, missing.reason))
        .collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(WorkerError::internal(format!(
        "the worker is not confined as the kernel allows: {}; find the cause with `graphprune device doctor`, or, for models \
         that you trust, start the agent with --allow-unconfined (allow_unconfined in the profile's [agent])",
        broken.join(", ")
    )))
}
