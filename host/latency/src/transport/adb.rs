//! The transport for phones and boards behind the Android debug bridge. It runs the system's
//! `adb`, with the server that the environment names.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use agent_protocol::Token;

use super::link::{Launcher, Link};
use super::process::{AgentProcess, StartFailure};
use super::remote;
use crate::command::{self, Finished};
use crate::{Client, LatencyError, Obstacle};

/// Time limit of one of the client's own commands.
const CALL: Duration = Duration::from_secs(15);

/// Messages of the client, after its name or `error:`.
const MESSAGES: [(&str, Obstacle); 12] = [
    (": device unauthorized", Obstacle::NotAllowed),
    (": device still authorizing", Obstacle::NotAllowed),
    (": no permissions", Obstacle::NotAllowed),
    (": insufficient permissions", Obstacle::NotAllowed),
    (": device offline", Obstacle::Unreachable),
    (": device still connecting", Obstacle::Unreachable),
    (": no devices", Obstacle::Unreachable),
    ("error: closed", Obstacle::Unreachable),
    (": protocol fault", Obstacle::Unreachable),
    (": cannot connect to daemon", Obstacle::Unreachable),
    (": failed to start daemon", Obstacle::Unreachable),
    (": failed to check server version", Obstacle::Unreachable),
];

/// The client program for one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdbClient {
    /// The program: `adb`.
    pub program: PathBuf,
    /// The device's serial number, or `host:port`.
    pub serial: String,
}

impl AdbClient {
    /// Creates a client of the `adb` on PATH for the device with this serial number.
    pub fn new(serial: impl Into<String>) -> Self {
        Self {
            program: "adb".into(),
            serial: serial.into(),
        }
    }

    /// A command of the client for its device.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-s", &self.serial]).args(arguments);
        command
    }

    /// A command that runs a script in the device's shell.
    pub(crate) fn shell(&self, script: &str) -> Command {
        self.command(&["shell", "-T", script])
    }

    /// The obstacle that the client reports, if any.
    pub(crate) fn obstacle(stderr: &str) -> Option<Obstacle> {
        if stderr.contains(": device '") && stderr.contains("' not found") {
            return Some(Obstacle::Unreachable);
        }
        MESSAGES
            .iter()
            .find(|(message, _)| stderr.contains(message))
            .map(|(_, obstacle)| *obstacle)
    }

    /// Starts the client's server if there is none. Otherwise the first command starts it and
    /// reports that on its output.
    fn start_server(&self) -> std::io::Result<Finished> {
        let mut start = Command::new(&self.program);
        start.arg("start-server");
        command::run(start, CALL)
    }

    /// Reconnects the device. After a restart of its daemon, the server keeps treating the device
    /// as offline.
    fn reconnect(&self) {
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&self.program);
            command.args(arguments);
            // The next attempt shows whether it helped.
            let _ = command::run(command, CALL);
        };
        if self.serial.contains(':') {
            run(&["disconnect", &self.serial]);
            run(&["connect", &self.serial]);
        } else {
            run(&["-s", &self.serial, "reconnect"]);
            run(&["-s", &self.serial, "wait-for-device"]);
        }
    }
}

/// A local port forwarded to the device. The forward ends when this value is dropped.
struct Forward {
    client: AdbClient,
    port: u16,
}

impl Forward {
    fn open(client: &AdbClient, to: u16) -> Result<Self, String> {
        let done = command::run(
            client.command(&["forward", "tcp:0", &format!("tcp:{to}")]),
            CALL,
        )
        .map_err(|error| error.to_string())?;
        match done.stdout.trim().parse() {
            Ok(port) if done.is_success() => Ok(Self {
                client: client.clone(),
                port,
            }),
            _ => Err(done.describe()),
        }
    }
}

impl Drop for Forward {
    fn drop(&mut self) {
        let name = format!("tcp:{}", self.port);
        // A disconnected device has no forwards left.
        let _ = command::run(self.client.command(&["forward", "--remove", &name]), CALL);
    }
}

/// A device reached by adb, with a deployed agent.
#[derive(Clone, Debug)]
pub struct Adb {
    /// The user's name for the device.
    pub device: String,
    /// The agent's folder on the device.
    pub folder: String,
    /// The client and the device's serial number.
    pub client: AdbClient,
    /// Whether models run without a layer of confinement that the kernel offers.
    pub allow_unconfined: bool,
}

impl Adb {
    /// The default folder, where a shell may install programs.
    pub const FOLDER: &'static str = "/data/local/tmp/graphprune";

    fn unusable(&self, obstacle: Obstacle, detail: String) -> LatencyError {
        LatencyError::Unusable {
            device: self.device.clone(),
            place: self.place(),
            obstacle,
            detail,
        }
    }

    fn failed(&self, failure: &StartFailure) -> LatencyError {
        let obstacle = if failure.no_program {
            Some(Obstacle::NoProgram)
        } else {
            AdbClient::obstacle(&failure.stderr).or_else(|| remote::obstacle(failure))
        };
        match obstacle {
            Some(obstacle) => self.unusable(obstacle, failure.to_string()),
            None => LatencyError::AgentStart {
                place: self.place(),
                detail: failure.to_string(),
            },
        }
    }

    fn try_launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        let token = Token::generate().map_err(|source| LatencyError::Io {
            doing: "making a token for the agent".into(),
            source,
        })?;
        let script = remote::agent_script(&self.folder, None, self.allow_unconfined);
        let command = self.client.shell(&script);
        let (process, greeting) = AgentProcess::start(command, &token, patience)
            .map_err(|failure| self.failed(&failure))?;
        let forward = Forward::open(&self.client, greeting.port)
            .map_err(|detail| self.unusable(Obstacle::Unreachable, detail))?;
        let client = Client::connect(&format!("http://127.0.0.1:{}", forward.port), &token)?;
        Ok(Link::new(client).with_process(process).with_route(forward))
    }
}

impl Launcher for Adb {
    fn place(&self) -> String {
        format!("adb {}", self.client.serial)
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        self.client.start_server().map_err(|error| {
            self.unusable(
                Obstacle::NoProgram,
                format!("{}: {error}", self.client.program.display()),
            )
        })?;
        match self.try_launch(patience) {
            Err(error) if error.is_agent_lost() => {
                tracing::info!(%error, "connecting the device anew");
                self.client.reconnect();
                self.try_launch(patience)
            }
            outcome => outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_client_differ_from_those_of_the_device() {
        let check = |stderr: &str, expected| {
            assert_eq!(AdbClient::obstacle(stderr), expected, "{stderr}");
        };
        check("error: device unauthorized.", Some(Obstacle::NotAllowed));
        check("adb: device 'x' not found", Some(Obstacle::Unreachable));
        check("error: device offline", Some(Obstacle::Unreachable));
        check("adb: failed to start daemon", Some(Obstacle::Unreachable));
        check(
            "error: no devices/emulators found",
            Some(Obstacle::Unreachable),
        );
        check("sh: graphprune-agent: not found", None);
        check("", None);
    }
}
