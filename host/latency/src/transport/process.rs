//! A process that brings an agent up, whether it is the agent itself or a program that starts it elsewhere.

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
/// Bytes that the line of a greeting may have.
const MOST_GREETING: u64 = 64 * 1024;
/// Bytes of a line that is no greeting which an error shows.
const SHOWN: usize = 500;

/// Listens to what a program says on its standard error, which the log gets, too.
pub(crate) fn last_words(stderr: ChildStderr) -> StderrTail {
    StderrTail::of(
        stderr,
        |line| tracing::debug!(target: "graphprune_agent", "{line}"),
    )
}

/// The line with which the agent tells where it listens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Greeting {
    /// The port on the loopback interface of the device.
    pub port: u16,
}

/// A command that did not become an agent.
#[derive(Debug)]
pub(crate) struct StartFailure {
    /// What was seen.
    pub detail: String,
    /// What the command said on its standard error.
    pub words: String,
    /// How it ended by itself, if it did.
    pub status: Option<ExitStatus>,
    /// Whether the command could not even be started, for want of its program.
    pub no_program: bool,
}

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)?;
        if !self.words.is_empty() {
            write!(f, " ({})", self.words)?;
        }
        Ok(())
    }
}

/// A started agent that has said where it listens.
pub(crate) struct AgentProcess {
    child: Child,
    /// Held open: the agent ends when this closes, and so when this process ends, however it does.
    stdin: Option<ChildStdin>,
    words: Option<StderrTail>,
}

impl AgentProcess {
    /// Runs `command`, hands over the token and waits for the greeting.
    ///
    /// # Errors
    /// When the command does not come up within `patience`.
    pub fn start(
        mut command: Command,
        token: &Token,
        patience: Duration,
    ) -> Result<(Self, Greeting), StartFailure> {
        // A group of its own: Ctrl-C in the terminal is for the host, which ends the agent when it is done with it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| StartFailure {
                no_program: error.kind() == std::io::ErrorKind::NotFound,
                detail: error.to_string(),
                words: String::new(),
                status: None,
            })?;
        let mut process = Self {
            words: child.stderr.take().map(last_words),
            stdin: child.stdin.take(),
            child,
        };
        process
            .greet(token, patience)
            .map_err(|failure| match failure {
                Mute::Ended(detail) => (detail, Duration::from_secs(1)),
                Mute::Silent(detail) => (detail, Duration::ZERO),
            })
            .map_err(|(detail, patience)| {
                // One that has closed its output is about to end, and how it does tells why.
                let status = ended_within(&mut process.child, patience);
                StartFailure {
                    detail,
                    words: process.end_at_once(),
                    status,
                    no_program: false,
                }
            })
            .map(|greeting| (process, greeting))
    }

    fn greet(&mut self, token: &Token, patience: Duration) -> Result<Greeting, Mute> {
        let ended = |what: &str| Mute::Ended(what.to_owned());
        let stdin = self
            .stdin
            .as_mut()
            .ok_or_else(|| ended("it has no standard input"))?;
        writeln!(stdin, "{}", token.secret())
            .map_err(|error| Mute::Ended(format!("it took no token: {error}")))?;
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or_else(|| ended("it has no standard output"))?;
        let (send, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            // Nobody listens any more once the start has timed out.
            let mut stdout = BufReader::new(stdout.take(MOST_GREETING));
            let _ = send.send(stdout.read_line(&mut text).map(|_| text));
        });
        let line = match line.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => {
                return Err(Mute::Ended(format!(
                    "its greeting could not be read: {error}"
                )));
            }
            Err(RecvTimeoutError::Timeout) => {
                return Err(Mute::Silent(format!("it said nothing within {patience:?}")));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(ended("it said nothing")),
        };
        serde_json::from_str(&line).map_err(|_| match line.trim() {
            "" => ended("it ended at once"),
            line => Mute::Silent(format!(
                "its first line is no greeting: {}",
                plain::cut(plain::on_one_line(line).into_owned(), SHOWN)
            )),
        })
    }

    /// The process on this machine.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once. Returns its last words.
    pub fn kill(mut self) -> String {
        self.end_at_once()
    }

    fn end_at_once(&mut self) -> String {
        end(&mut self.child, Duration::ZERO);
        self.words
            .take()
            .map(|words| words.collect())
            .unwrap_or_default()
    }
}

/// Why there is no greeting.
enum Mute {
    /// The command has ended or is about to.
    Ended(String),
    /// It runs but is no agent.
    Silent(String),
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stdin = None;
            end(&mut self.child, Duration::from_secs(5));
        }
    }
}

/// How a child ended, if it does within `patience`.
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

/// Waits for a child to end for as long as `patience`, then kills it. It leaves no zombie.
pub(crate) fn end(child: &mut Child, patience: Duration) {
    if ended_within(child, patience).is_none() {
        // An error means that it has ended already.
        let _ = child.kill();
        let _ = child.wait();
    }
}
