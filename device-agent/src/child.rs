//! One worker process: started, listened to, and ended in any case.
//!
//! Whatever a worker does or is made to do, it has ended when its time is up: nothing here waits for it without a limit, be it
//! to take its job, to speak or to end. What it says is bounded before it is kept.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, channel, sync_channel};
use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{
    Failure, FailureKind, StderrTail, Progress, ProtocolError, Stage, bounds, frame, wire,
};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::serve::TOKEN_VARIABLE;
use crate::{launch, worker};

/// How often whoever waits hears from a silent worker, and may say that it waits no more.
pub const HEARTBEAT: Duration = Duration::from_millis(200);
/// Events that were read and not looked at. A worker that sends more waits.
const UNREAD: usize = 16;
/// How long a worker that was killed may take to be gone. One that a driver holds may never be.
const GONE: Duration = Duration::from_secs(10);
/// Bytes of an event that says little.
const SMALL_BYTES: usize = 64 * 1024;
/// Bytes of one model's times: warm-up, samples and preempted runs, each time less than a day.
const SERIES_BYTES: usize = 7 * 2 * bounds::MAX_SAMPLES + SMALL_BYTES;
/// The variables that tell libraries where the user's own files are. A worker has none but those in its folder.
const PLACES: [&str; 7] = [
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// Runs one pass in a worker process and returns what it found.
///
/// `progress` gets every step and a sign of life in between, and ends the worker by returning `false`.
pub fn run(
    job: &wire::WorkerJob,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Event, Failure> {
    let begun = Instant::now();
    let start = Progress::at(Stage::Start);
    let begin = Begin::of(job).map_err(|error| cannot_start(&error))?;
    let oom_kills = oom_kills();
    let child = begin.child(time, progress)?;
    let mut worker = Worker::new(child, begin, begun, oom_kills);
    let outcome = listen(&mut worker, job, time, progress);
    if worker.put_down() {
        return outcome;
    }
    let at = match outcome {
        Err(failure) => Progress {
            stage: failure.stage,
            model: failure.model,
            ..start
        },
        Ok(_) => start,
    };
    let detail = format!(
        "the worker (process {}) was killed and has not ended within {} s: a driver holds it, and until the device is \
         restarted it may disturb what is measured",
        worker.child.id(),
        GONE.as_secs()
    );
    Err(failure(&at, FailureKind::Internal, detail))
}

fn failure(at: &Progress, kind: FailureKind, detail: String) -> Failure {
    Failure {
        kind,
        stage: at.stage,
        model: at.model.clone(),
        detail,
    }
}

fn cannot_start(error: &dyn std::fmt::Display) -> Failure {
    let detail = format!("the worker process could not be started: {error}");
    failure(&Progress::at(Stage::Start), FailureKind::Internal, detail)
}

fn time_is_up(at: &Progress, time: Duration) -> Failure {
    let detail = format!("it was ended when its {} ms were up", time.as_millis());
    failure(at, FailureKind::TimedOut, detail)
}

fn nobody_waits(at: &Progress) -> Failure {
    let detail = "nobody waits for the result any more".to_owned();
    failure(at, FailureKind::Internal, detail)
}

/// Hears what a worker says until it has said its last or its time is up.
fn listen(
    worker: &mut Worker,
    job: &wire::WorkerJob,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Event, Failure> {
    let mut at = Progress::at(Stage::Start);
    let mut speaks = true;
    loop {
        let left = time.saturating_sub(worker.begun.elapsed());
        if left.is_zero() {
            return Err(time_is_up(&at, time));
        }
        let step = left.min(HEARTBEAT);
        if !speaks {
            // It has closed its output, and how it ends tells why.
            if worker.has_ended_within(step) {
                return Err(death(&at, &worker.end(), job));
            }
        } else {
            match worker.events.recv_timeout(step) {
                Ok(Ok(Event::Progress(step))) => match Progress::try_from(step) {
                    Ok(step) => at = step,
                    Err(error) => {
                        return Err(failure(&at, FailureKind::Internal, error.to_string()));
                    }
                },
                Ok(Ok(Event::Failure(told))) => {
                    return Err(Failure::try_from(told).unwrap_or_else(|error| {
                        failure(&at, FailureKind::Internal, error.to_string())
                    }));
                }
                Ok(Ok(end)) => return Ok(end),
                Ok(Err(error)) => {
                    return Err(failure(&at, FailureKind::Internal, error.to_string()));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => speaks = false,
            }
        }
        if !progress(&at) {
            return Err(nobody_waits(&at));
        }
    }
}

/// The longest event that a worker with this job has a reason to send, bytes.
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

/// How a worker ended.
struct End {
    status: Option<ExitStatus>,
    /// Its last lines on standard error.
    words: Vec<String>,
    /// Whether the kernel killed some process in the meantime because memory ran out.
    memory_ran_out: bool,
}

/// What a worker that ended without a result died of.
fn death(at: &Progress, end: &End, job: &wire::WorkerJob) -> Failure {
    let words = &end.words;
    let limit = job.limits.map_or(0, |limits| limits.memory_bytes);
    let said = if words.is_empty() {
        String::new()
    } else {
        format!("; its last words: {}", words.join(" / "))
    };
    let starved = words.iter().any(|line| out_of_memory(line));
    let (kind, what) = match end.status.map(|status| (status.signal(), status.code())) {
        _ if starved => (
            FailureKind::OutOfMemory,
            format!("the worker ran into its memory limit of {limit} bytes"),
        ),
        Some((Some(number), _)) if number == Signal::SIGKILL as i32 && end.memory_ran_out => (
            FailureKind::OutOfMemory,
            "the kernel killed the worker because memory ran out".to_owned(),
        ),
        Some((Some(number), _)) => {
            let name =
                Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
            let kind = if number == Signal::SIGXCPU as i32 {
                FailureKind::TimedOut
            } else {
                FailureKind::Crashed
            };
            (kind, format!("the worker was killed by {name}"))
        }
        Some((None, Some(code))) => (
            FailureKind::Crashed,
            format!("the worker ended with status {code}"),
        ),
        _ => (
            FailureKind::Crashed,
            "the worker ended in an unknown way".to_owned(),
        ),
    };
    Failure {
        kind,
        stage: at.stage,
        model: at.model.clone(),
        detail: format!("{what}{said}"),
    }
}

/// Whether a message is one of those with which allocators and loaders say that memory ran out.
pub fn out_of_memory(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    [
        "bad_alloc",
        "bad allocation",
        "memory allocation of",
        "allocate memory",
        "failed to map segment",
        "out of memory",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

/// How many processes the kernel has killed since it started because memory ran out, on the whole system or in a group of
/// processes; `None` where it does not tell.
fn oom_kills() -> Option<u64> {
    let counters = std::fs::read_to_string("/proc/vmstat").ok()?;
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

struct Worker {
    child: Child,
    begun: Instant,
    events: Receiver<Result<Event, ProtocolError>>,
    /// Closed when the process has ended; it is not waited for by then, so its number is still its own.
    ended: Receiver<()>,
    words: Option<StderrTail>,
    /// See [`oom_kills`], at the start.
    oom_kills: Option<u64>,
    /// Whether it was waited for, or given up: its number may then be another process'.
    is_over: bool,
}

/// A worker that is being started, by a thread that lives as long as the worker does: the kernel kills a process when the
/// thread that started it ends.
struct Begin {
    started: Receiver<std::io::Result<Child>>,
    ended: Receiver<()>,
    job: Vec<u8>,
    most_bytes: usize,
}

impl Begin {
    fn of(job: &wire::WorkerJob) -> Result<Self, ProtocolError> {
        let job_bytes = frame::bytes(job)?;
        let mut command = launch::again("worker")?;
        command
            .env_remove(TOKEN_VARIABLE)
            .envs(PLACES.map(|name| (name, &job.folder)))
            // Otherwise the library starts a thread that writes below the home folder and asks for the network.
            .env("ORT_DISABLE_TELEMETRY", "1")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let agent = std::process::id();
        // SAFETY: between fork and exec it makes two system calls and allocates nothing.
        unsafe {
            command.pre_exec(move || worker::tie_to(agent));
        }
        let (send, started) = channel();
        let (end, ended) = channel::<()>();
        std::thread::Builder::new()
            .name("worker".into())
            .spawn(move || {
                let spawned = command.spawn();
                let number = spawned.as_ref().ok().map(Child::id);
                match (send.send(spawned), number) {
                    (Ok(()), Some(number)) => wait_for_end_of(number),
                    // Its time was up before it had begun.
                    (Err(SendError(Ok(mut child))), _) => {
                        // An error means that it has ended.
                        let _ = child.kill();
                        let _ = child.wait();
                    }
                    _ => {}
                }
                drop(end);
            })?;
        Ok(Self {
            started,
            ended,
            job: job_bytes,
            most_bytes: most_bytes(job),
        })
    }

    /// The process, once it runs the worker's program.
    fn child(
        &self,
        time: Duration,
        progress: &mut dyn FnMut(&Progress) -> bool,
    ) -> Result<Child, Failure> {
        let (begun, at) = (Instant::now(), Progress::at(Stage::Start));
        loop {
            let left = time.saturating_sub(begun.elapsed());
            match self.started.recv_timeout(left.min(HEARTBEAT)) {
                Ok(Ok(child)) => return Ok(child),
                Ok(Err(error)) => return Err(cannot_start(&error)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(cannot_start(&"the thread that starts it has ended"));
                }
                Err(RecvTimeoutError::Timeout) if begun.elapsed() >= time => {
                    return Err(time_is_up(&at, time));
                }
                Err(RecvTimeoutError::Timeout) if !progress(&at) => return Err(nobody_waits(&at)),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }
}

/// Returns when a child has ended, and leaves it to be waited for.
fn wait_for_end_of(child: u32) {
    let process = Pid::from_raw(child as i32);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while matches!(waitid(Id::Pid(process), flags), Err(Errno::EINTR)) {}
}

impl Worker {
    fn new(mut child: Child, begin: Begin, begun: Instant, oom_kills: Option<u64>) -> Self {
        let Begin {
            ended,
            job,
            most_bytes,
            ..
        } = begin;
        let (send, events) = sync_channel(UNREAD);
        if let Some(mut stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                loop {
                    let read =
                        frame::read::<wire::WorkerEvent>(&mut stdout, "WorkerEvent", most_bytes);
                    let event = match read {
                        Ok(Some(message)) => message.event.ok_or(ProtocolError::Missing {
                            message: "WorkerEvent",
                            field: "event",
                        }),
                        // The end, or the broken pipe of a killed worker: its status tells more.
                        Ok(None) | Err(ProtocolError::Io(_)) => return,
                        Err(error) => Err(error),
                    };
                    let is_wrong = event.is_err();
                    if send.send(event).is_err() || is_wrong {
                        return;
                    }
                }
            });
        }
        if let Some(mut stdin) = child.stdin.take() {
            std::thread::spawn(move || {
                // A worker that died before it had read its job is told by its status.
                let _ = stdin.write_all(&job);
            });
        }
        let stderr = child.stderr.take();
        Self {
            words: stderr.map(|stderr| StderrTail::of(stderr, |_| {})),
            child,
            begun,
            events,
            ended,
            oom_kills,
            is_over: false,
        }
    }

    fn has_ended_within(&self, time: Duration) -> bool {
        self.ended.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// Kills it, and whatever it started.
    fn kill(&self) {
        if let (false, Ok(number)) = (self.is_over, i32::try_from(self.child.id())) {
            let process = Pid::from_raw(number);
            // Its group first, then itself, should it have left that. It fails only for what has ended.
            let _ = killpg(process, Signal::SIGKILL);
            let _ = kill(process, Signal::SIGKILL);
        }
    }

    /// How a worker ended that has.
    fn end(&mut self) -> End {
        self.kill();
        let status = self.child.wait().ok();
        self.is_over = true;
        let words = self.words.take().map(|words| words.lines());
        End {
            status,
            words: words.unwrap_or_default(),
            memory_ran_out: oom_kills() > self.oom_kills,
        }
    }

    /// Ends it and leaves no zombie. Returns whether it is gone.
    fn put_down(&mut self) -> bool {
        if self.is_over {
            return true;
        }
        self.kill();
        let is_gone = self.has_ended_within(GONE) && self.child.wait().is_ok();
        // It is not waited for again, gone or not.
        self.is_over = true;
        is_gone
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.put_down();
    }
}
