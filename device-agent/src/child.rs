//! One pass of a measurement in a worker process.
//!
//! The worker is gone when its time is up, whatever it does or is made to do: no step here waits
//! for it without a limit, be it to take its job, to send an event or to end. Its output is
//! bounded before it is kept.

mod exit;
mod process;

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Failure, FailureKind, Progress, Stage, bounds, wire};

use process::{GONE, Launching, WorkerProcess};

/// Interval at which the caller gets progress from a silent worker and may cancel it.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// Bytes of an event without samples, nodes or outputs.
const SMALL_BYTES: usize = 64 * 1024;
/// Bytes of one model's times: warm-up, samples and preempted runs, each time less than a day.
const SERIES_BYTES: usize = 7 * 2 * bounds::MAX_SAMPLES + SMALL_BYTES;

/// Runs one pass in a worker process and returns its final event.
///
/// `progress` gets every step, and the last one again at each heartbeat. It cancels the worker by
/// returning `false`.
pub fn run(
    job: &wire::WorkerJob,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Event, Failure> {
    let begun = Instant::now();
    let oom_kills = exit::oom_kills();
    let launching = Launching::start(job, most_bytes(job)).map_err(|error| cannot_start(&error))?;
    let mut worker = wait_for_start(launching, time, progress)?;
    let outcome = match receive(&worker, begun, time, progress) {
        Ok(Received::Last(event)) => Ok(*event),
        Ok(Received::Exited(last)) => Err(exit::failure(&last, &worker.reap(), job, oom_kills)),
        Err(failure) => Err(failure),
    };
    if worker.terminate() {
        return outcome;
    }
    let last = outcome.err().map_or_else(
        || Progress::at(Stage::Start),
        |failure| Progress {
            model: failure.model,
            ..Progress::at(failure.stage)
        },
    );
    let detail = format!(
        "the worker (process {}) was killed and has not ended within {} s: a driver holds it, and until the device is \
         restarted it may disturb what is measured",
        worker.id(),
        GONE.as_secs()
    );
    Err(failure(&last, FailureKind::Internal, detail))
}

fn failure(last: &Progress, kind: FailureKind, detail: String) -> Failure {
    Failure {
        kind,
        stage: last.stage,
        model: last.model.clone(),
        detail,
    }
}

fn internal(last: &Progress, error: &dyn std::fmt::Display) -> Failure {
    failure(last, FailureKind::Internal, error.to_string())
}

fn cannot_start(error: &dyn std::fmt::Display) -> Failure {
    let detail = format!("the worker process could not be started: {error}");
    failure(&Progress::at(Stage::Start), FailureKind::Internal, detail)
}

fn timed_out(last: &Progress, time: Duration) -> Failure {
    let detail = format!("it was ended when its {} ms were up", time.as_millis());
    failure(last, FailureKind::TimedOut, detail)
}

/// Returns the failure of a measurement whose client has left.
pub fn cancelled(last: &Progress) -> Failure {
    let detail = "the client no longer waits for the result".to_owned();
    failure(last, FailureKind::Internal, detail)
}

/// Waits until the process runs the worker's program.
fn wait_for_start(
    launching: Launching,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<WorkerProcess, Failure> {
    let (begun, last) = (Instant::now(), Progress::at(Stage::Start));
    loop {
        let left = time.saturating_sub(begun.elapsed());
        match launching.started.recv_timeout(left.min(HEARTBEAT)) {
            Ok(Ok(child)) => return Ok(launching.running(child)),
            Ok(Err(error)) => return Err(cannot_start(&error)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(cannot_start(&"the thread that starts it has ended"));
            }
            Err(RecvTimeoutError::Timeout) if begun.elapsed() >= time => {
                return Err(timed_out(&last, time));
            }
            Err(RecvTimeoutError::Timeout) if !progress(&last) => return Err(cancelled(&last)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

/// How the events of a worker ended.
enum Received {
    /// With its final event.
    Last(Box<Event>),
    /// With the process, after this progress; its status gives the reason.
    Exited(Progress),
}

/// Receives events until the final one, the end of the process or the end of its time.
fn receive(
    worker: &WorkerProcess,
    begun: Instant,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Received, Failure> {
    let mut last = Progress::at(Stage::Start);
    let mut output_is_open = true;
    loop {
        let left = time.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Err(timed_out(&last, time));
        }
        let step = left.min(HEARTBEAT);
        if output_is_open {
            match worker.events.recv_timeout(step) {
                Ok(Ok(Event::Progress(step))) => {
                    last = Progress::try_from(step).map_err(|error| internal(&last, &error))?;
                }
                Ok(Ok(Event::Failure(reported))) => {
                    let reported = Failure::try_from(reported);
                    return Err(reported.unwrap_or_else(|error| internal(&last, &error)));
                }
                Ok(Ok(last)) => return Ok(Received::Last(Box::new(last))),
                Ok(Err(error)) => return Err(internal(&last, &error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => output_is_open = false,
            }
        } else if worker.has_ended_within(step) {
            return Ok(Received::Exited(last));
        }
        if !progress(&last) {
            return Err(cancelled(&last));
        }
    }
}

/// Returns the length of the longest event that a worker with this job has a reason to send,
/// bytes.
fn most_bytes(job: &wire::WorkerJob) -> usize {
    let nodes = bounds::MAX_NODES_BYTES + bounds::MAX_NODES * 64;
    let runs_on_others = job
        .runtime
        .as_ref()
        .is_some_and(|options| !options.providers.is_empty());
    let most = match job.pass() {
        wire::WorkerPass::Sample => {
            let placed = if runs_on_others { nodes } else { 0 };
            SMALL_BYTES + job.models.len() * (SERIES_BYTES + placed)
        }
        wire::WorkerPass::Profile => nodes,
        wire::WorkerPass::Run => bounds::MAX_RUN_ELEMENTS * size_of::<f32>(),
        _ => 0,
    };
    most + SMALL_BYTES
}
