//! A worker's process: its start, its pipes and its end.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, channel, sync_channel};
use std::time::Duration;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{ProtocolError, StderrTail, frame, wire};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use crate::{launch, worker};

/// Events buffered before a worker has to wait.
const UNREAD: usize = 16;
/// Time a killed worker may take to be gone. One that a driver holds may never be.
pub const GONE: Duration = Duration::from_secs(10);
/// Variables that lead libraries to the user's own files. A worker's lead to its folder.
const PLACES: [&str; 7] = [
    "HOME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
];

/// A worker that is being started.
///
/// The kernel kills a process when the thread that started it ends, so a thread of its own
/// starts the worker and stays until the worker has ended.
pub struct Launching {
    /// Gets the process once it runs the worker's program.
    pub started: Receiver<std::io::Result<Child>>,
    ended: Receiver<()>,
    job: Vec<u8>,
    most_bytes: usize,
}

impl Launching {
    /// Starts a worker with this job, whose events have at most `most_bytes`.
    pub fn start(job: &wire::WorkerJob, most_bytes: usize) -> Result<Self, ProtocolError> {
        let job_bytes = frame::bytes(job)?;
        let mut command = launch::again("worker")?;
        command
            .envs(PLACES.map(|name| (name, &job.folder)))
            // Without it the library starts a thread that writes below the home folder and opens
            // network connections.
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
                    // Its time was up before it ran.
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
            most_bytes,
        })
    }

    /// Serves the pipes of the process that was started.
    pub fn running(self, mut child: Child) -> WorkerProcess {
        let (send, events) = sync_channel(UNREAD);
        if let Some(stdout) = child.stdout.take() {
            let most_bytes = self.most_bytes;
            std::thread::spawn(move || read_events(stdout, most_bytes, &send));
        }
        if let Some(mut stdin) = child.stdin.take() {
            let job = self.job;
            std::thread::spawn(move || {
                // The status of a worker that ends before it has read its job gives the reason.
                let _ = stdin.write_all(&job);
            });
        }
        let stderr = child.stderr.take();
        WorkerProcess {
            stderr: stderr.map(|stderr| StderrTail::of(stderr, |_| {})),
            child,
            events,
            ended: self.ended,
            is_released: false,
        }
    }
}

fn read_events(
    mut stdout: ChildStdout,
    most_bytes: usize,
    send: &SyncSender<Result<Event, ProtocolError>>,
) {
    loop {
        let read = frame::read::<wire::WorkerEvent>(&mut stdout, "WorkerEvent", most_bytes);
        let event = match read {
            Ok(Some(message)) => message.event.ok_or(ProtocolError::Missing {
                message: "WorkerEvent",
                field: "event",
            }),
            // The end, or the broken pipe of a killed worker, whose status gives the reason.
            Ok(None) | Err(ProtocolError::Io(_)) => return,
            Err(error) => Err(error),
        };
        let is_last = event.is_err();
        if send.send(event).is_err() || is_last {
            return;
        }
    }
}

/// Returns when a child has ended, and leaves it to be reaped.
fn wait_for_end_of(child: u32) {
    let process = Pid::from_raw(child as i32);
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while matches!(waitid(Id::Pid(process), flags), Err(Errno::EINTR)) {}
}

/// A worker's process. Dropping it kills it.
pub struct WorkerProcess {
    child: Child,
    /// Its events, until it closes its output.
    pub events: Receiver<Result<Event, ProtocolError>>,
    /// Closed when the process has ended. It is not reaped by then, so its number is still its
    /// own.
    ended: Receiver<()>,
    stderr: Option<StderrTail>,
    /// Whether it was reaped or given up: its number may then be another process's.
    is_released: bool,
}

/// How a worker ended.
pub struct Ended {
    /// Its status; `None` if the system did not report it.
    pub status: Option<ExitStatus>,
    /// The last lines of its standard error.
    pub stderr: Vec<String>,
}

impl WorkerProcess {
    /// Returns its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ends within this time.
    pub fn has_ended_within(&self, time: Duration) -> bool {
        self.ended.recv_timeout(time) == Err(RecvTimeoutError::Disconnected)
    }

    /// Kills it and its descendants.
    fn kill(&self) {
        if let (false, Ok(number)) = (self.is_released, i32::try_from(self.child.id())) {
            let process = Pid::from_raw(number);
            // First its group, then itself in case it left the group. Both fail only when it has
            // ended.
            let _ = killpg(process, Signal::SIGKILL);
            let _ = kill(process, Signal::SIGKILL);
        }
    }

    /// Reaps a worker that has ended.
    pub fn reap(&mut self) -> Ended {
        self.kill();
        let status = self.child.wait().ok();
        self.is_released = true;
        let stderr = self.stderr.take().map(|stderr| stderr.lines());
        Ended {
            status,
            stderr: stderr.unwrap_or_default(),
        }
    }

    /// Kills and reaps it. Returns whether it is gone.
    pub fn terminate(&mut self) -> bool {
        if self.is_released {
            return true;
        }
        self.kill();
        let is_gone = self.has_ended_within(GONE) && self.child.wait().is_ok();
        // Gone or not, it is not waited for again.
        self.is_released = true;
        is_gone
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.terminate();
    }
}
