//! A shell on a device, for putting the agent there and for looking around.
//!
//! A file travels through the standard input of a command: that needs nothing on the device but a shell, is the same for
//! every way to it, and tells how far it is.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{self, Finished};
use crate::transport::remote;
use crate::transport::ssh::SSH_FAILED;
use crate::{Adb, AdbClient, LatencyError, Launcher, Obstacle, Ssh, SshClient};

/// What opening the way to a device may take.
const OPEN: Duration = Duration::from_secs(15);

/// Runs scripts of a POSIX shell on a device.
pub trait Shell: Send {
    /// The device in a few words.
    fn place(&self) -> String;

    /// The program of this machine that runs `script` on the device.
    fn command(&self, script: &str) -> Command;

    /// What is in the way, when it was the way that failed and not the script.
    fn obstacle(&self, finished: &Finished) -> Option<Obstacle>;

    /// What the user calls the device.
    fn device(&self) -> &str;
}

impl dyn Shell + '_ {
    /// Runs a script and returns how it ended, which may be badly.
    ///
    /// # Errors
    /// When the device cannot be reached, or the script has not ended within `limit`.
    pub fn run(&self, script: &str, limit: Duration) -> Result<Finished, LatencyError> {
        let finished = command::run(self.command(script), limit);
        self.judge(finished, limit)
    }

    /// Runs a script that must end well, and returns what it printed, trimmed.
    ///
    /// # Errors
    /// As `run` of it, and when it ends badly.
    pub fn ask(&self, script: &str, limit: Duration) -> Result<String, LatencyError> {
        let finished = self.run(script, limit)?;
        if finished.is_success() {
            return Ok(finished.stdout.trim().to_owned());
        }
        Err(self.failed(finished.describe()))
    }

    /// Copies a file to a path of the device. `sent` hears how many bytes are on their way.
    ///
    /// # Errors
    /// As `ask` of it, and when the file cannot be read.
    pub fn push(
        &self,
        file: &Path,
        to: &str,
        limit: Duration,
        sent: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), LatencyError> {
        let mut from = File::open(file).map_err(|source| LatencyError::Io {
            doing: format!("reading {}", file.display()),
            source,
        })?;
        let script = format!("cat > {}", remote::quote_path(to));
        let finished = command::feed(self.command(&script), &mut from, limit, sent);
        let finished = self.judge(finished, limit)?;
        if finished.is_success() {
            Ok(())
        } else {
            Err(self.failed(finished.describe()))
        }
    }

    fn judge(
        &self,
        finished: std::io::Result<Finished>,
        limit: Duration,
    ) -> Result<Finished, LatencyError> {
        let unusable = |obstacle, detail| LatencyError::Unusable {
            device: self.device().to_owned(),
            place: self.place(),
            obstacle,
            detail,
        };
        let finished = finished.map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                unusable(Obstacle::NoProgram, error.to_string())
            } else {
                self.failed(error.to_string())
            }
        })?;
        if let Some(obstacle) = self.obstacle(&finished) {
            return Err(unusable(obstacle, finished.describe()));
        }
        if finished.status.is_none() {
            return Err(self.failed(format!("no end within {} s", limit.as_secs())));
        }
        Ok(finished)
    }

    fn failed(&self, detail: String) -> LatencyError {
        LatencyError::Shell {
            place: self.place(),
            detail,
        }
    }
}

/// This machine's own.
#[derive(Clone, Copy, Debug)]
pub struct LocalShell;

impl Shell for LocalShell {
    fn place(&self) -> String {
        "this machine".to_owned()
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn obstacle(&self, _finished: &Finished) -> Option<Obstacle> {
        None
    }

    fn device(&self) -> &str {
        "local"
    }
}

impl Shell for Ssh {
    fn place(&self) -> String {
        Launcher::place(self)
    }

    fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.client.ssh);
        command
            .args(self.client.options(OPEN))
            .args(["-T", "-x", "-o", "ClearAllForwardings=yes", "--"])
            .arg(&self.destination)
            .arg(remote::in_sh(script));
        command
    }

    fn obstacle(&self, finished: &Finished) -> Option<Obstacle> {
        (finished.code() == Some(SSH_FAILED)).then(|| SshClient::obstacle(&finished.stderr))
    }

    fn device(&self) -> &str {
        &self.device
    }
}

impl Shell for Adb {
    fn place(&self) -> String {
        Launcher::place(self)
    }

    fn command(&self, script: &str) -> Command {
        self.client.shell(script)
    }

    fn obstacle(&self, finished: &Finished) -> Option<Obstacle> {
        if finished.is_success() {
            return None;
        }
        AdbClient::obstacle(&finished.stderr)
    }

    fn device(&self) -> &str {
        &self.device
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    #[test]
    fn a_file_arrives_whole_wherever_it_is_to_go() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, vec![9; 300_000]).unwrap();
        let to = folder.path().join("it's a $copy");
        let shell: &dyn Shell = &LocalShell;
        let mut sent = 0;
        shell
            .push(&file, to.to_str().unwrap(), LIMIT, &mut |sum| sent = sum)
            .unwrap();
        assert_eq!(sent, 300_000);
        assert_eq!(std::fs::read(&file).unwrap(), std::fs::read(&to).unwrap());
        let error = shell
            .push(&file, "/no/such/folder/x", LIMIT, &mut |_| {})
            .unwrap_err();
        assert!(matches!(error, LatencyError::Shell { .. }), "{error}");
    }

    #[test]
    fn a_script_that_ends_badly_is_an_error_only_where_it_must_not() {
        let shell: &dyn Shell = &LocalShell;
        assert_eq!(shell.run("exit 3", LIMIT).unwrap().code(), Some(3));
        assert_eq!(shell.ask("echo ' x '", LIMIT).unwrap(), "x");
        let error = shell
            .ask("echo why >&2; exit 3", LIMIT)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("this machine") && error.contains("3: why"),
            "{error}"
        );
        assert!(
            shell
                .run("exec sleep 100", Duration::from_millis(100))
                .is_err()
        );
    }
}
