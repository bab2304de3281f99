//! One worker process: started, listened to, and ended in any case.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Failure, FailureKind, Progress, ProtocolError, Stage, frame, wire};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::launch;
use crate::serve::TOKEN_VARIABLE;

/// How often whoever waits hears from a silent worker, and may say that it waits no more.
pub const HEARTBEAT: Duration = Duration::from_millis(200);

/// Runs one pass in a worker process and returns what it found.
///
/// Must be called on a thread that lives until it returns: the worker is killed by the kernel when the thread that started
/// it ends. `progress` hears every step and a sign of life in between, and ends the worker by returning `false`.
pub fn run(
    job: &wire::WorkerJob,
    time: Duration,
    progress: &mut dyn FnMut(&Progress) -> bool,
) -> Result<Event, Failure> {
    let begun = Instant::now();
    let mut at = Progress::at(Stage::Start);
    let mut worker = Worker::start(job).map_err(|error| Failure {
        kind: FailureKind::Internal,
        stage: Stage::Start,
        model: String::new(),
        detail: format!("the worker process could not be started: {error}"),
    })?;
    let fail = |at: &Progress, kind, detail| Failure {
        kind,
        stage: at.stage,
        model: at.model.clone(),
        detail,
    };
    loop {
        let Some(left) = time
            .checked_sub(begun.elapsed())
            .filter(|left| !left.is_zero())
        else {
            worker.kill();
            let detail = format!("it was ended when its {} ms were up", time.as_millis());
            return Err(fail(&at, FailureKind::TimedOut, detail));
        };
        match worker.events.recv_timeout(left.min(HEARTBEAT)) {
            Ok(Ok(Event::Progress(step))) => match Progress::try_from(step) {
                Ok(step) => at = step,
                Err(error) => return Err(fail(&at, FailureKind::Internal, error.to_string())),
            },
            Ok(Ok(Event::Failure(failure))) => {
                return Err(Failure::try_from(failure)
                    .unwrap_or_else(|error| fail(&at, FailureKind::Internal, error.to_string())));
            }
            Ok(Ok(end)) => return Ok(end),
            Ok(Err(error)) => return Err(fail(&at, FailureKind::Internal, error.to_string())),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                let end = worker.end();
                return Err(death(&at, &end, job));
            }
        }
        if !progress(&at) {
            worker.kill();
            return Err(fail(
                &at,
                FailureKind::Internal,
                "nobody waits for the result any more".into(),
            ));
        }
    }
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
    events: Receiver<Result<Event, ProtocolError>>,
    words: Option<JoinHandle<Vec<String>>>,
    /// See [`oom_kills`], at the start.
    oom_kills: Option<u64>,
    /// Whether it was waited for: its number may then be another process's.
    ended: bool,
}

impl Worker {
    fn start(job: &wire::WorkerJob) -> Result<Self, ProtocolError> {
        let oom_kills = oom_kills();
        let mut child = launch::again("worker")?
            .env_remove(TOKEN_VARIABLE)
            .env("TMPDIR", &job.folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (send, events) = channel();
        if let Some(mut stdout) = child.stdout.take() {
            std::thread::spawn(move || {
                loop {
                    let event = match frame::read::<wire::WorkerEvent>(&mut stdout, "WorkerEvent") {
                        Ok(Some(message)) => message.event.ok_or(ProtocolError::Missing {
                            message: "WorkerEvent",
                            field: "event",
                        }),
                        // The end, or the broken pipe of a killed worker: its status tells more.
                        Ok(None) | Err(ProtocolError::Io(_)) => return,
                        Err(error) => Err(error),
                    };
                    if send.send(event).is_err() {
                        return;
                    }
                }
            });
        }
        let words = child.stderr.take().map(|stderr| {
            std::thread::spawn(move || {
                let mut words = VecDeque::new();
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    if words.len() == 4 {
                        words.pop_front();
                    }
                    words.push_back(line.chars().take(500).collect());
                }
                words.into()
            })
        });
        let stdin = child.stdin.take();
        let worker = Self {
            child,
            events,
            words,
            oom_kills,
            ended: false,
        };
        if let Some(mut stdin) = stdin {
            match frame::write(&mut stdin, job) {
                // A worker that died before it read its job is told by its status.
                Ok(()) | Err(ProtocolError::Io(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(worker)
    }

    fn kill(&mut self) {
        if let (false, Ok(pid)) = (self.ended, i32::try_from(self.child.id())) {
            // It fails only when the whole group has ended.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Waits for a worker that has closed its output.
    fn end(&mut self) -> End {
        let status = self.child.wait().ok();
        self.ended = true;
        let words = self.words.take().and_then(|thread| thread.join().ok());
        End {
            status,
            words: words.unwrap_or_default(),
            memory_ran_out: oom_kills() > self.oom_kills,
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.kill();
        // No zombie stays behind; an error means that it was waited for already.
        let _ = self.child.wait();
    }
}
