//! The transport over ssh. It runs the system's client, so the user's configuration, keys, jump
//! hosts and shared connections apply. It opens no local port: the bytes go through the client's
//! standard input and output.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use agent_protocol::{BoardSpec, Token};

use super::link::{Launcher, Link};
use super::process::{AgentProcess, StartFailure};
use super::remote;
use crate::route::Route;
use crate::{Client, LatencyError, Obstacle};

/// The exit status of `ssh` for its own failures.
pub(crate) const SSH_FAILED: i32 = 255;
/// Options of every call: no prompts, and a dead connection is noticed within 15 seconds.
const OPTIONS: [&str; 8] = [
    "-o",
    "BatchMode=yes",
    "-o",
    "ServerAliveInterval=5",
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "LogLevel=ERROR",
];
/// Messages of `ssh`.
const MESSAGES: [(&str, Obstacle); 4] = [
    ("Permission denied", Obstacle::KeyRefused),
    ("Too many authentication failures", Obstacle::KeyRefused),
    ("Host key verification failed", Obstacle::Impostor),
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", Obstacle::Impostor),
];

/// The client program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshClient {
    /// The program: `ssh`.
    pub ssh: PathBuf,
    /// Arguments before all others, such as `-F FILE`.
    pub arguments: Vec<String>,
}

impl Default for SshClient {
    fn default() -> Self {
        Self {
            ssh: "ssh".into(),
            arguments: Vec::new(),
        }
    }
}

impl SshClient {
    /// The command line up to the destination.
    pub(crate) fn words(&self, patience: Duration) -> Vec<OsString> {
        let mut words = vec![self.ssh.clone().into_os_string()];
        words.extend(self.options(patience));
        words
    }

    /// The options of every call.
    pub(crate) fn options(&self, patience: Duration) -> Vec<OsString> {
        let connect = format!("ConnectTimeout={}", patience.as_secs().max(1));
        let mut words: Vec<OsString> = self.arguments.iter().map(OsString::from).collect();
        words.extend(OPTIONS.iter().map(OsString::from));
        words.extend(["-o".into(), connect.into()]);
        words
    }

    /// The obstacle behind a failure of the client itself.
    pub(crate) fn obstacle(stderr: &str) -> Obstacle {
        MESSAGES
            .iter()
            .find(|(message, _)| stderr.contains(message))
            .map_or(Obstacle::Unreachable, |(_, obstacle)| *obstacle)
    }
}

/// A device reached by ssh, with a deployed agent; or a board whose probe is plugged in there.
#[derive(Clone, Debug)]
pub struct Ssh {
    /// The user's name for the device.
    pub device: String,
    /// `user@host`, or a host of the user's ssh configuration.
    pub destination: String,
    /// The agent's folder on the device, relative to the user's home folder.
    pub folder: String,
    /// The client.
    pub client: SshClient,
    /// Whether models run without a layer of confinement that the kernel offers.
    pub allow_unconfined: bool,
    /// A board that the agent measures on instead of its own machine.
    pub board: Option<BoardSpec>,
}

impl Ssh {
    /// The default folder.
    pub const FOLDER: &'static str = ".graphprune";

    fn failed(&self, failure: &StartFailure) -> LatencyError {
        let client_failed = failure.status.and_then(|status| status.code()) == Some(SSH_FAILED);
        let obstacle = if failure.no_program {
            Some(Obstacle::NoProgram)
        } else if client_failed {
            Some(SshClient::obstacle(&failure.stderr))
        } else {
            remote::obstacle(failure)
        };
        match obstacle {
            Some(obstacle) => LatencyError::Unusable {
                device: self.device.clone(),
                place: self.place(),
                obstacle,
                detail: failure.to_string(),
            },
            None => LatencyError::AgentStart {
                place: self.place(),
                detail: failure.to_string(),
            },
        }
    }
}

impl Launcher for Ssh {
    fn place(&self) -> String {
        match &self.board {
            Some(board) => format!("the probe {} at ssh {}", board.probe, self.destination),
            None => format!("ssh {}", self.destination),
        }
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        let token = Token::generate().map_err(|source| LatencyError::Io {
            doing: "making a token for the agent".into(),
            source,
        })?;
        let words = self.client.words(patience);
        let mut command = Command::new(&self.client.ssh);
        command
            .args(&words[1..])
            .args(["-T", "-x", "-o", "ClearAllForwardings=yes", "--"])
            .arg(&self.destination)
            .arg(remote::in_sh(&remote::agent_script(
                &self.folder,
                self.board.as_ref(),
                self.allow_unconfined,
            )));
        let (process, greeting) = AgentProcess::start(command, &token, patience)
            .map_err(|failure| self.failed(&failure))?;
        let mut bytes = words;
        bytes.extend([
            "-W".into(),
            format!("127.0.0.1:{}", greeting.port).into(),
            "--".into(),
            self.destination.clone().into(),
        ]);
        let client = Client::over(&Route::Program(bytes), Some(&token))?;
        Ok(Link::new(client).with_process(process))
    }
}
