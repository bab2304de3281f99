//! The worker: one pass of one measurement in a process of its own.
//!
//! It reads one job from standard input, answers with events on standard output and ends. It limits itself before it touches
//! a model, and the kernel kills it when the agent dies.

mod confine;
mod external;
mod input;
mod layer;
mod model;
mod passes;
mod placement;
pub mod providers;
mod sample;
mod sentinel;
mod syscalls;

pub use confine::{LIBRARIES, tie_to};

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{
    Failure, FailureKind, Limits, Progress, RuntimeOptions, Sampling, Stage, bounds, frame, plain,
    wire,
};
use anyhow::Context;
use nix::unistd::{dup, dup2_stdout};

use crate::child::out_of_memory;

/// A failure with the stage and model it belongs to still to be filled in by whoever knows them.
pub(crate) struct Trouble {
    kind: FailureKind,
    detail: String,
}

impl Trouble {
    /// The runtime's words about a model.
    fn model(error: impl std::fmt::Display) -> Self {
        let detail = error.to_string();
        let kind = if out_of_memory(&detail) {
            FailureKind::OutOfMemory
        } else {
            FailureKind::ModelRefused
        };
        Self { kind, detail }
    }

    /// An execution provider that is not to be had as it was asked for.
    fn provider(detail: String) -> Self {
        Self {
            kind: FailureKind::Provider,
            detail,
        }
    }

    fn internal(error: impl std::fmt::Display) -> Self {
        Self {
            kind: FailureKind::Internal,
            detail: error.to_string(),
        }
    }
}

/// Where the worker's events go.
pub(crate) struct Events {
    pipe: File,
    at: Progress,
}

impl Events {
    /// Says what comes next and for which model.
    fn enter(&mut self, stage: Stage, model: &str) {
        self.at = Progress {
            stage,
            model: model.to_owned(),
            ..self.at.clone()
        };
        self.step();
    }

    /// Says how far it is.
    fn step(&mut self) {
        self.send(Event::Progress(self.at.clone().into()));
    }

    fn send(&mut self, event: Event) {
        let message = wire::WorkerEvent { event: Some(event) };
        // A pipe that is closed means that the agent is gone, and then the kernel ends this process.
        let _ = frame::write(&mut self.pipe, &message);
    }
}

/// The worker's whole life.
pub fn main() -> anyhow::Result<()> {
    // Libraries that print to standard output must not get between the frames.
    let pipe = File::from(dup(std::io::stdout()).context("taking over standard output")?);
    dup2_stdout(std::io::stderr()).context("pointing standard output to standard error")?;
    let mut from = BufReader::new(std::io::stdin());
    let job = frame::read::<wire::WorkerJob>(&mut from, "WorkerJob", bounds::MAX_REPLY_BYTES)?
        .context("standard input ended without a job")?;
    let mut events = Events {
        pipe,
        at: Progress::at(Stage::Start),
    };
    let end = match work(&job, &mut events) {
        Ok(event) => event,
        Err(Trouble { kind, detail }) => Event::Failure(
            Failure {
                kind,
                stage: events.at.stage,
                model: events.at.model.clone(),
                // The runtime's words may repeat a name of any length.
                detail: plain::cut(detail, bounds::MAX_TEXT_BYTES),
            }
            .into(),
        ),
    };
    events.send(end);
    Ok(())
}

fn work(job: &wire::WorkerJob, events: &mut Events) -> Result<Event, Trouble> {
    let limits: Limits = job
        .limits
        .unwrap_or_default()
        .try_into()
        .map_err(Trouble::internal)?;
    let sampling: Sampling = job
        .sampling
        .clone()
        .unwrap_or_default()
        .try_into()
        .map_err(Trouble::internal)?;
    let options: RuntimeOptions = job
        .runtime
        .clone()
        .unwrap_or_default()
        .try_into()
        .map_err(Trouble::internal)?;
    confine::limit(job.agent_pid, &limits, &sampling).map_err(Trouble::internal)?;
    let missing = |error: String| Trouble {
        kind: if out_of_memory(&error) {
            FailureKind::OutOfMemory
        } else {
            FailureKind::RuntimeMissing
        },
        detail: error,
    };
    let library = Path::new(&job.runtime_path);
    if job.pass() == wire::WorkerPass::Libraries {
        let _loaded = model::load_library(library).map_err(missing)?;
        let folders = confine::library_folders();
        return Ok(Event::Libraries(wire::WorkerLibraries {
            folders: folders
                .iter()
                .map(|folder| folder.display().to_string())
                .collect(),
        }));
    }
    let folder = Path::new(&job.folder);
    let models = job.models.iter().map(|model| PathBuf::from(&model.path));
    let libraries = job.library_folders.iter().map(PathBuf::from);
    let confinement = confine::seal(&confine::Reach {
        folder,
        readable: models.chain(libraries).collect(),
        local_sockets: providers::open_local_sockets(&options),
    });
    let version = model::runtime_version(library).map_err(missing)?;
    let runtime = ort::init_from(library)
        .map_err(|error| missing(error.to_string()))?
        .with_name("graphprune-agent")
        .with_telemetry(false)
        .build()
        .map_err(|error| missing(error.to_string()))?;
    // Not before the library is loaded: those it needs may be looked for in the folder the agent was started in.
    std::env::set_current_dir(folder)
        .map_err(|error| Trouble::internal(format!("entering {}: {error}", folder.display())))?;
    let bench = model::Bench {
        runtime,
        sampling,
        options,
        offered: providers::offered()?,
    };
    match job.pass() {
        wire::WorkerPass::Sample => {
            let mut samples = sample::pass(job, &bench, events)?;
            (samples.runtime_version, samples.confinement) = (version, confinement.in_effect);
            let unconfined = confinement.missing.iter().filter(|missing| missing.offered);
            samples.notes.extend(unconfined.map(|missing| {
                format!(
                    "the worker ran without {}: {}",
                    missing.layer, missing.reason
                )
            }));
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
        })),
        wire::WorkerPass::Libraries => Err(Trouble::internal("the pass ended before")),
        wire::WorkerPass::Unspecified => Err(Trouble::internal("the job names no pass")),
    }
}
