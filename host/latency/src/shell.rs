//! Shells on devices, to deploy the agent and inspect the system.
//!
//! Files are copied through the standard input of a command: this needs only a shell on the
//! device, works over every transport, and reports progress.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::command::{self, Finished};
use crate::transport::remote;
use crate::transport::ssh::SSH_FAILED;
use crate::{Adb, AdbClient, LatencyError, Launcher, Obstacle, Ssh, SshClient};

/// Time limit of connecting to a device.
const OPEN: Duration = Duration::from_secs(15);

/// A POSIX shell on a device.
pub trait Shell: Send {
    /// Names the device for messages.
    fn place(&self) -> String;

    /// Returns the local command that runs `script` on the device.
    fn command(&self, script: &str) -> Command;

    /// Returns the obstacle if the transport failed, not the script.
    fn obstacle(&self, finished: &Finished) -> Option<Obstacle>;

    /// Returns the user's name for the device.
    fn device(&self) -> &str;
}

impl dyn Shell + '_ {
    /// Runs a script and returns its result, whatever its status.
    ///
    /// # Errors
    /// Fails if the device cannot be reached or the script exceeds `limit`.
    pub fn run(&self, script: &str, limit: Duration) -> Result<Finished, LatencyError> {
        let finished = command::run(self.command(script), limit);
        self.judge(finished, limit)
    }

    /// Runs a script that must succeed and returns its trimmed output.
    ///
    /// # Errors
    /// Fails as `run` does, and if the script fails.
    pub fn output(&self, script: &str, limit: Duration) -> Result<String, LatencyError> {
        let finished = self.run(script, limit)?;
        if finished.is_success() {
            return Ok(finished.stdout.trim().to_owned());
        }
        Err(self.failed(finished.describe()))
    }

    /// Copies a file to a path on the device. `sent` is called with the number of bytes sent so
    /// far.
    ///
    /// # Errors
    /// Fails as `output` does, and if the file cannot be read.
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
            return Err(self.failed(format!("it did not end within {} s", limit.as_secs())));
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

/// The shell of this machine.
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
    fn a_file_arrives_whole_at_any_path() {
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
    fn a_failing_script_is_an_error_only_where_it_must_succeed() {
        let shell: &dyn Shell = &LocalShell;
        assert_eq!(shell.run("exit 3", LIMIT).unwrap().code(), Some(3));
        assert_eq!(shell.output("echo ' x '", LIMIT).unwrap(), "x");
        let error = shell
            .output("echo why >&2; exit 3", LIMIT)
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
