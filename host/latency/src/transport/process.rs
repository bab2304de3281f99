//! A process that brings an agent up, whether it is the agent itself or a program that starts it elsewhere.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_protocol::Token;
use serde::Deserialize;

/// The agent's last words, for error messages, and the thread that listens to them until the agent has ended.
#[derive(Default)]
struct LastWords {
    lines: Arc<Mutex<VecDeque<String>>>,
    listener: Option<JoinHandle<()>>,
}

impl LastWords {
    fn of(stderr: impl Read + Send + 'static) -> Self {
        let lines = Arc::default();
        let keep = Arc::clone(&lines);
        let listener = std::thread::spawn(move || keep_last_words(BufReader::new(stderr), &keep));
        Self {
            lines,
            listener: Some(listener),
        }
    }

    /// What was said. Only for an agent that has ended.
    fn collect(self) -> String {
        // A listener that failed has kept what it heard until then.
        let _ = self.listener.map(JoinHandle::join);
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
            .join(" / ")
    }
}

/// The line with which the agent tells where it listens.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Greeting {
    /// The port on the loopback interface of the device.
    pub port: u16,
}

/// A started agent that has said where it listens.
pub(crate) struct AgentProcess {
    child: Child,
    /// Held open: the agent ends when this closes, and so when this process ends, however it does.
    stdin: Option<ChildStdin>,
    words: LastWords,
}

impl AgentProcess {
    /// Runs `command`, hands over the token and waits for the greeting.
    ///
    /// # Errors
    /// What was seen, with the last words, when the command does not come up within `patience`.
    pub fn start(
        mut command: Command,
        token: &Token,
        patience: Duration,
    ) -> Result<(Self, Greeting), String> {
        // A group of its own: Ctrl-C in the terminal is for the host, which ends the agent when it is done with it.
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let words = child.stderr.take().map(LastWords::of).unwrap_or_default();
        let mut process = Self {
            stdin: child.stdin.take(),
            child,
            words,
        };
        match process.greet(token, patience) {
            Ok(greeting) => Ok((process, greeting)),
            Err(detail) => {
                let words = process.kill();
                Err(if words.is_empty() {
                    detail
                } else {
                    format!("{detail} ({words})")
                })
            }
        }
    }

    fn greet(&mut self, token: &Token, patience: Duration) -> Result<Greeting, String> {
        let stdin = self.stdin.as_mut().ok_or("it has no standard input")?;
        writeln!(stdin, "{}", token.secret())
            .map_err(|error| format!("it took no token: {error}"))?;
        let stdout = self
            .child
            .stdout
            .take()
            .ok_or("it has no standard output")?;
        let (send, line) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            // Nobody listens any more once the start has timed out.
            let _ = send.send(BufReader::new(stdout).read_line(&mut text).map(|_| text));
        });
        let line = match line.recv_timeout(patience) {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return Err(format!("its greeting could not be read: {error}")),
            Err(RecvTimeoutError::Timeout) => {
                return Err(format!("it said nothing within {patience:?}"));
            }
            Err(RecvTimeoutError::Disconnected) => return Err("it said nothing".into()),
        };
        serde_json::from_str(&line).map_err(|_| match line.trim() {
            "" => "it ended at once".to_owned(),
            line => format!("its first line is no greeting: {line}"),
        })
    }

    /// The process on this machine.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it at once. Returns its last words.
    pub fn kill(mut self) -> String {
        end(&mut self.child, Duration::ZERO);
        std::mem::take(&mut self.words).collect()
    }
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.stdin = None;
            end(&mut self.child, Duration::from_secs(5));
        }
    }
}

/// Waits for a child to end for as long as `patience`, then kills it. It leaves no zombie.
fn end(child: &mut Child, patience: Duration) {
    let until = Instant::now() + patience;
    while Instant::now() < until {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    // An error means that it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

fn keep_last_words(from: impl BufRead, words: &Mutex<VecDeque<String>>) {
    for line in from.lines().map_while(Result::ok) {
        tracing::debug!(target: "graphprune_agent", "{line}");
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.len() == 8 {
            words.pop_front();
        }
        words.push_back(line);
    }
}
