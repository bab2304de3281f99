//! The worker: one pass of one measurement in a process of its own.
//!
//! It reads one job from standard input, answers with events on standard output and ends. It limits itself before it touches
//! a model, and the kernel kills it when the agent dies.

mod external;
mod model;
mod passes;
mod sample;

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Failure, FailureKind, Limits, Progress, Sampling, Stage, frame, wire};
use anyhow::Context;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Pid, dup, dup2_stdout, getppid};

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
    let job = frame::read::<wire::WorkerJob>(&mut BufReader::new(std::io::stdin()), "WorkerJob")?
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
                detail,
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
    confine(job.agent_pid, &limits, &sampling).map_err(Trouble::internal)?;
    let missing = |error: String| Trouble {
        kind: if out_of_memory(&error) {
            FailureKind::OutOfMemory
        } else {
            FailureKind::RuntimeMissing
        },
        detail: error,
    };
    let library = Path::new(&job.runtime_path);
    let version = model::runtime_version(library).map_err(missing)?;
    let runtime = ort::init_from(library)
        .map_err(|error| missing(error.to_string()))?
        .with_name("graphprune-agent")
        .with_telemetry(false)
        .build()
        .map_err(|error| missing(error.to_string()))?;
    let bench = model::Bench { runtime, sampling };
    match job.pass() {
        wire::WorkerPass::Sample => sample::pass(job, &bench, version, events).map(Event::Samples),
        wire::WorkerPass::Memory => passes::memory(job, &bench, events).map(Event::Memory),
        wire::WorkerPass::Profile => passes::profile(job, &bench, events).map(Event::Profile),
        wire::WorkerPass::Run => passes::run(job, &bench, events).map(Event::Output),
        wire::WorkerPass::Runtime => Ok(Event::Runtime(wire::WorkerRuntime {
            version,
            ..wire::WorkerRuntime::default()
        })),
        wire::WorkerPass::Unspecified => Err(Trouble::internal("the job names no pass")),
    }
}

/// Takes away what a model has no business with.
fn confine(agent: u32, limits: &Limits, sampling: &Sampling) -> anyhow::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL).context("tying the worker's life to the agent's")?;
    // The agent may have died before the line above.
    anyhow::ensure!(
        u32::try_from(getppid().as_raw()) == Ok(agent),
        "the agent is gone"
    );
    // Not granted to everybody, and then the worker runs as the agent does; how it ran is told with the samples.
    let _ = rustix::process::setpriority_process(None, sampling.nice);
    prctl::set_no_new_privs().context("giving up privileges")?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).context("forbidding core dumps")?;
    let memory = limits.memory_bytes;
    setrlimit(Resource::RLIMIT_AS, memory, memory).context("limiting memory")?;
    // The agent's clock ends the worker first; this holds should the agent be stopped.
    let seconds = (limits.time_ns / 1_000_000_000)
        .saturating_add(5)
        .saturating_mul(u64::from(sampling.threads) + 1);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds).context("limiting processor time")?;
    if !sampling.cores.is_empty() {
        let mut set = CpuSet::new();
        for &core in &sampling.cores {
            set.set(core as usize)
                .with_context(|| format!("core {core}"))?;
        }
        sched_setaffinity(Pid::from_raw(0), &set)
            .with_context(|| format!("binding the worker to cores {:?}", sampling.cores))?;
    }
    Ok(())
}
