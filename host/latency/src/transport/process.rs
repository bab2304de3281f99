//! A process that starts an agent: the agent itself, or a program that starts it on another
//! device.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use agent_protocol::{StderrTail, Token, plain};
use serde::Deserialize;

/// The agent's flag that lets models run without a layer of confinement that the kernel offers.
pub(crate) const ALLOW_UNCONFINED: &str = "--allow-unconfined";
/// The most bytes of a greeting.
const MOST_GREETING: u64 = 64 * 1024;
/// The most bytes of a malformed greeting in an error.
const MOST_QUOTED: usize = 500;

/// Collects the end of a program's standard error and forwards all of it to the log.
pub(crate) fn stderr_tail(stderr: ChildStderr) -> StderrTail {
    StderrTail::of(
        stderr,
        |line| tracing::debug!(target: "graphprune_agent", "{line}"),
    )
}

/// The line with which the agent announces its port.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Greeting {
    /// The port on the loopback interface of the device.
    pub port: u16,
}

/// The failure of a command to start an agent.
#[derive(Debug)]
pub(crate) struct StartFailure {
    /// The problem.
    pub detail: String,
    /// The end of the command's standard error.
    pub stderr: String,
    /// The status of a command that ended by itself.
    pub status: Option<ExitStatus>,
    /// Whether the command's program is missing.
    pub no_program: bool,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if !self.stderr.is_empty() {
            write!(f, " ({})", self.stderr)?;
        }
        Ok(())
    }
}

/// A started agent that has announced its port.
pub(crate) struct AgentProcess {
    child: Child,
    /// Held open: the agent ends when this closes, and so whenever this process ends.
    stdin: Option<ChildStdin>,
    stderr: Option<StderrTail>,
}

impl AgentProcess {
    /// Runs `command`, passes the token and waits for the greeting.
    ///
    /// # Errors
    /// Fails if there is no greeting within `patience`.
    pub fn start(
        mut command: Command,
        token: &Token,
        patience: Duration,
    ) -> Result<(Self, Greeting), StartFailure> {
        // In a process group of its own, the agent does not receive Ctrl-C from the terminal. The
        // host ends it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| StartFailure {
                no_program: error.kind() == std::io::ErrorKind::NotFound,
                detail: error.to_string(),
                stderr: String::new(),
                status: None,
            })?;
        let mut process = Self {
            stderr: child.stderr.take().map(stderr_tail),
            stdin: child.stdin.take(),
            child,
        };
        process
            .greet(token, patience)
            .map_err(|error| match error {
                GreetingError::Ended(detail) => (detail, Duration::from_secs(1)),
                GreetingError::Running(detail) => (detail, Duration::ZERO),
            })
            .map_err(|(detail, patience)| {
                // A command that closed its output is about to end, with a status that names the
                // reason.
                let status = ended_within(&mut process.child, patience);
                StartFailure {
                    detail,
                    stderr: process.end_at_once(),
                    status,
                    no_program: false,
                }
            })
            .map(|greeting| (process, greeting))
    }

    fn greet(&mut self, token: &Token, patience: Duration) -> Result<Greeting, GreetingError> {
        let ended = |detail: &str| GreetingError::Ended(detail.to_owned());
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| ended("it has no standard input"))?;
        writeln!(stdin, "{}", token.secret()).map_err(|error| {
            GreetingError::Ended(format!("it did not accept the token: {error}"))
        })?;
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or_else(|| ended("it has no standard output"))?;
        let (send, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            // The receiver is gone once the start has timed out.
            let mut stdout = BufReader::new(stdout.take(MOST_GREETING));
            let _ = send.send(stdout.read_line(&mut text).map(|_| text));
        });
        let line = match line.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => {
                return Err(GreetingError::Ended(format!(
                    "its greeting could not be read: {error}"
                )));
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(GreetingError::Running(format!(
                    "no output within {patience:?}"
                )));
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ended("it closed its output without a greeting"));
            }
        };
        serde_json::from_str(&line).map_err(|_| match line.trim() {
            "" => ended("it exited without output"),
            line => GreetingError::Running(format!(
                "its first line is not a greeting: {}",
                plain::cut(plain::on_one_line(line).into_owned(), MOST_QUOTED)
            )),
        })
    }

    /// The id of the local process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process and returns the end of its standard error.
    pub fn kill(mut self) -> String {
        self.end_at_once()
    }

    fn end_at_once(&mut self) -> String {
        end(&mut self.child, Duration::ZERO);
        self.stderr
            .take()
            .map(|tail| tail.collect())
            .unwrap_or_default()
    }
}

/// The reason of a missing greeting.
enum GreetingError {
    /// The command has ended or is about to.
    Ended(String),
    /// The command runs but is not an agent.
    Running(String),
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stdin = None;
            end(&mut self.child, Duration::from_secs(5));
        }
    }
}

/// Waits at most `patience` for a child to end.
pub(crate) fn ended_within(child: &mut Child, patience: Duration) -> Option<ExitStatus> {
    let until = Instant::now() + patience;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

/// Waits at most `patience` for a child to end, then kills and reaps it.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    if ended_within(child, patience).is_none() {
        // These fail only if it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}
