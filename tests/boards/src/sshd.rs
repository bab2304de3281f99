//! An OpenSSH server in a container of its own.

use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::container::{self, Container, Root, Start, USER};
use crate::kit::{checked, quoted};
use crate::{BoardError, Kit, SlowLink, System, free_port, processes};

/// The name of the target in its `ssh_config`.
const HOST: &str = "board";
/// The path of the server's program within the container. It re-executes itself for each
/// connection.
const PROGRAM: &str = "/.files/sshd";
const PROGRAM_FILE: &str = "/.tools/usr/sbin/sshd";
/// The argument of a connection's process.
const OF_CONNECTION: &str = "-R";

/// Attempts to find a port that no other process takes meanwhile.
const PORTS: usize = 5;

/// The configuration of a board.
#[derive(Debug, Clone)]
pub struct BoardConfig {
    /// The programs on it.
    pub system: System,
    /// qemu's name of the processor.
    pub cpu: String,
    /// Size of the home folder in bytes; it is in memory. A small one fills up.
    pub home_bytes: u64,
}

impl Default for BoardConfig {
    fn default() -> Self {
        Self {
            system: System::Aarch64,
            cpu: "cortex-a72".to_owned(),
            home_bytes: 512 << 20,
        }
    }
}

/// An OpenSSH server on the loopback interface, over this machine's read-only file system. Its
/// user `tester` has an empty home folder, `/home`, and `/tmp`, both in memory.
#[derive(Debug)]
pub struct Sshd {
    kit: Kit,
    config: BoardConfig,
    port: u16,
    folder: TempDir,
    container: Option<Container>,
}

/// The same server over an aarch64 Linux; see the crate's documentation.
#[derive(Debug)]
pub struct Board(Sshd);

impl Board {
    /// Starts the board.
    ///
    /// # Errors
    /// When the set-up is missing, or this machine does not let users make namespaces.
    pub fn start(config: BoardConfig) -> Result<Self, BoardError> {
        Sshd::start_on(config).map(Self)
    }
}

impl Deref for Board {
    type Target = Sshd;

    fn deref(&self) -> &Sshd {
        &self.0
    }
}

impl DerefMut for Board {
    fn deref_mut(&mut self) -> &mut Sshd {
        &mut self.0
    }
}

impl Sshd {
    /// Starts a server with new keys on a free port.
    ///
    /// # Errors
    /// When the set-up is missing, or this machine does not let users make namespaces.
    pub fn start() -> Result<Self, BoardError> {
        Self::with_home(BoardConfig::default().home_bytes)
    }

    /// As [`Self::start`], with a home folder of this size, in bytes.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn with_home(home_bytes: u64) -> Result<Self, BoardError> {
        Self::start_on(BoardConfig {
            system: System::Host,
            home_bytes,
            ..BoardConfig::default()
        })
    }

    fn start_on(config: BoardConfig) -> Result<Self, BoardError> {
        let mut server = Self {
            kit: Kit::find()?,
            config,
            port: 0,
            folder: container::folder("sshd")?,
            container: None,
        };
        server.write_keys()?;
        let mut tries = 0;
        loop {
            tries += 1;
            server.port = free_port()?;
            server.write_configs()?;
            match server.restart() {
                Err(BoardError::Ended { output, .. })
                    if tries < PORTS && output.contains("in use") => {}
                outcome => return outcome.map(|()| server),
            }
        }
    }

    /// Returns the file for `ssh -F`, in which the target is called `board`.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("ssh_config")
    }

    /// Writes such a file for connections through `link`, which must lead to [`Self::port`].
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn config_through(&self, link: &SlowLink) -> Result<PathBuf, BoardError> {
        let port = link.address().port();
        let path = self.folder.path().join(format!("ssh_config-{port}"));
        container::write(&path, &self.client_config(port))?;
        Ok(path)
    }

    /// Returns the folder with the configuration and keys, which is removed with the server.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the port on the loopback interface, which a restart preserves.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns this machine's `ssh` with the target's name as the last argument.
    pub fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.config()).arg(HOST);
        command
    }

    /// Runs one command on the target by ssh.
    ///
    /// # Errors
    /// When ssh cannot be started; the result has the command's status.
    pub fn run(&self, command: &str) -> Result<Output, BoardError> {
        self.ssh()
            .arg(command)
            .stdin(Stdio::null())
            .output()
            .map_err(BoardError::start("ssh"))
    }

    /// Copies a file to the target by scp.
    ///
    /// # Errors
    /// When it does not arrive complete.
    pub fn push(&self, file: &Path, to: &str) -> Result<(), BoardError> {
        let mut scp = Command::new("scp");
        scp.arg("-q").arg("-F").arg(self.config());
        scp.arg(file).arg(format!("{HOST}:{to}"));
        checked(&mut scp).map(drop)
    }

    /// Returns the end of the server's output since its last start.
    pub fn log(&self) -> String {
        self.container
            .as_ref()
            .map_or_else(String::new, Container::log)
    }

    /// Kills the processes of all connections and returns their number. The server stays; the
    /// input of programs that ran over the connections ends.
    pub fn kill_connections(&self) -> usize {
        let all = self
            .container
            .as_ref()
            .map(|container| processes::descendants(container.number()))
            .unwrap_or_default();
        let is_server = |number: u32| processes::has_word(number, PROGRAM_FILE);
        let of_connections: Vec<_> = all
            .into_iter()
            .filter(|number| is_server(*number) && processes::has_word(*number, OF_CONNECTION))
            .collect();
        let first = |number: &&u32| {
            processes::parent(**number).is_some_and(|above| !of_connections.contains(&above))
        };
        let count = of_connections.iter().filter(first).count();
        of_connections.into_iter().for_each(processes::end);
        count
    }

    /// Kills the server and all processes on the target, and removes its files.
    pub fn stop(&mut self) {
        self.container = None;
    }

    /// Restarts the server on the same port, with the same keys and an empty home folder.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self) -> Result<(), BoardError> {
        self.stop();
        // As an ordinary user the server needs no account for privilege separation.
        let commands = format!(
            "unshare --user --map-user=1000 --map-group=1000 --root=. --wd=/ \
             {PROGRAM} -D -e -f /.files/sshd_config"
        );
        let name = match self.config.system {
            System::Host => "the SSH server",
            System::Aarch64 | System::Bare => "the aarch64 board",
        };
        let mut container = Start {
            name,
            folder: self.folder.path(),
            root: Some(Root {
                kit: &self.kit,
                system: self.config.system,
                home_bytes: self.config.home_bytes,
            }),
            alone: false,
            commands: &commands,
        }
        .start()?;
        // Only the server's own log shows that it, and not another process, listens on the port.
        let listens = format!("listening on 127.0.0.1 port {}", self.port);
        container.wait("listening", |container| {
            Ok(container.log().contains(&listens).then_some(()))
        })?;
        self.container = Some(container);
        Ok(())
    }

    fn write_keys(&self) -> Result<(), BoardError> {
        let files = container::files(self.folder.path());
        fs::create_dir_all(&files).map_err(BoardError::io("creating", &files))?;
        let user = self.folder.path().join("identity");
        let host = files.join("host_key");
        for key in [&user, &host] {
            let mut keygen = Command::new("ssh-keygen");
            keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]);
            checked(keygen.arg(key))?;
        }
        let public = |key: &Path| {
            let path = key.with_extension("pub");
            fs::read_to_string(&path).map_err(BoardError::io("reading", &path))
        };
        container::write(&files.join("authorized_keys"), &public(&user)?)?;
        let known = format!("{HOST} {}", public(&host)?);
        container::write(&self.folder.path().join("known_hosts"), &known)?;
        let program = self
            .kit
            .tool(Path::new("/.tools"), PROGRAM, "usr/sbin/sshd");
        container::write_script(
            &files.join("sshd"),
            &format!("exec {} \"$@\"", quoted(&program)),
        )
    }

    fn write_configs(&self) -> Result<(), BoardError> {
        container::write(&self.config(), &self.client_config(self.port))?;
        let server = format!(
            "Port {}\n\
             ListenAddress 127.0.0.1\n\
             HostKey /.files/host_key\n\
             AuthorizedKeysFile /.files/authorized_keys\n\
             PidFile none\n\
             UsePAM no\n\
             StrictModes no\n\
             PasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             Subsystem sftp internal-sftp\n\
             MaxStartups 100\n\
             MaxSessions 100\n\
             SetEnv QEMU_CPU={}\n",
            self.port, self.config.cpu
        );
        container::write(
            &container::files(self.folder.path()).join("sshd_config"),
            &server,
        )
    }

    fn client_config(&self, port: u16) -> String {
        let folder = self.folder.path().display();
        format!(
            "Host {HOST}\n\
             HostName 127.0.0.1\n\
             Port {port}\n\
             User {USER}\n\
             HostKeyAlias {HOST}\n\
             IdentityFile \"{folder}/identity\"\n\
             IdentitiesOnly yes\n\
             IdentityAgent none\n\
             UserKnownHostsFile \"{folder}/known_hosts\"\n\
             GlobalKnownHostsFile none\n\
             StrictHostKeyChecking yes\n\
             BatchMode yes\n\
             ConnectTimeout 20\n\
             LogLevel ERROR\n"
        )
    }
}
