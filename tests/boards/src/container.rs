//! Processes in namespaces of their own, over a file system assembled for them.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::poll::{self, PATIENCE};
use crate::{BoardError, Kit, System, processes};

const SCRIPT: &str = include_str!("container.sh");
/// The folders of a system that are mounted in a container, where they exist.
const WHOLE: &str = "bin etc lib lib32 lib64 libx32 opt sbin usr";
/// Bytes of a log in an error.
const SHOWN: usize = 2000;

/// The user that a server in a container runs as.
pub(crate) const USER: &str = "tester";

/// The file system of a container.
pub(crate) struct Root<'a> {
    pub(crate) kit: &'a Kit,
    pub(crate) system: System,
    /// Size of the home folder, which is in memory, in bytes.
    pub(crate) home_bytes: u64,
}

/// The configuration of a container.
pub(crate) struct Start<'a> {
    /// Its name in errors.
    pub(crate) name: &'a str,
    /// The folder with the log and with the files mounted at `/.files`.
    pub(crate) folder: &'a Path,
    /// A root of its own; `None`: this machine's.
    pub(crate) root: Option<Root<'a>>,
    /// Whether it has no network except a loopback interface of its own.
    pub(crate) alone: bool,
    /// Commands for the shell of the first process, after the file system is assembled. The
    /// container ends with the last one.
    pub(crate) commands: &'a str,
}

/// A running container; dropping it kills all of its processes.
#[derive(Debug)]
pub(crate) struct Container {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Start<'_> {
    pub(crate) fn start(&self) -> Result<Container, BoardError> {
        let files = files(self.folder);
        fs::create_dir_all(&files).map_err(BoardError::io("creating", &files))?;
        let log = self.folder.join("log");
        let out = File::create(&log).map_err(BoardError::io("creating", &log))?;
        let err = out.try_clone().map_err(BoardError::io("opening", &log))?;
        let mut unshare = Command::new("unshare");
        unshare.args(["--user", "--map-root-user", "--mount", "--pid", "--fork"]);
        if self.alone {
            unshare.arg("--net");
        }
        // The shell must remain the first process, so its last command is no program, which it
        // would exec.
        unshare.args(["sh", "-c", &format!("{SCRIPT}{}\nexit $?", self.commands)]);
        unshare.env_clear();
        // A shell without PATH has a default, but children of its programs have none.
        unshare.env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        );
        unshare.env("FILES", &files);
        if let Some(root) = &self.root {
            root.prepare(self.folder, &mut unshare)?;
        }
        let child = unshare
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(err)
            .spawn()
            .map_err(BoardError::start("unshare"))?;
        Ok(Container {
            name: self.name.to_owned(),
            child,
            log,
        })
    }
}

impl Root<'_> {
    fn prepare(&self, folder: &Path, unshare: &mut Command) -> Result<(), BoardError> {
        let root = folder.join("root");
        fs::create_dir_all(&root).map_err(BoardError::io("creating", &root))?;
        let users = format!("root:x:0:0:root:/home:/bin/sh\n{USER}:x:1000:1000::/home:/bin/sh\n");
        let groups = format!("root:x:0:\n{USER}:x:1000:\n");
        for (name, text) in [
            ("passwd", users.as_str()),
            ("group", groups.as_str()),
            // The kit's programs must not load this machine's name service modules.
            (
                "nsswitch.conf",
                "passwd: files\ngroup: files\nhosts: files\n",
            ),
        ] {
            write(&files(folder).join(name), text)?;
        }
        let (system, top) = match self.system {
            System::Host => (PathBuf::from("/"), WHOLE),
            System::Aarch64 => (self.kit.set("aarch64"), WHOLE),
            System::Bare => (self.kit.set("aarch64"), "bin etc"),
        };
        unshare
            .env("ROOT", root)
            .env("SYSTEM", system)
            .env("TOP", top)
            .env("TOOLS", self.kit.set("tools"))
            .env("ANDROID", self.kit.set("android"))
            .env("HOME_BYTES", self.home_bytes.to_string());
        if self.system != System::Host
            && let Some(emulators) = self.kit.emulators()
        {
            unshare.env("EMULATORS", emulators);
        }
        Ok(())
    }
}

impl Container {
    /// Returns the number of the process outside of the namespaces, the ancestor of the container's
    /// processes.
    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    /// Returns the end of the output of the container's processes.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default())
            .trim()
            .to_owned()
    }

    /// Waits until `ready` returns a value. Fails at once when the container ends.
    pub(crate) fn wait<T>(
        &mut self,
        what: &'static str,
        mut ready: impl FnMut(&Self) -> Result<Option<T>, BoardError>,
    ) -> Result<T, BoardError> {
        let answer = poll::until(PATIENCE, || match ready(self)? {
            None if self.has_ended() => Err(BoardError::Ended {
                target: self.name.clone(),
                output: self.log(),
            }),
            answer => Ok(answer),
        })?;
        answer.ok_or_else(|| BoardError::TimedOut {
            target: self.name.clone(),
            what,
            limit: PATIENCE,
            output: self.log(),
        })
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !self.has_ended() {
            processes::children(self.number())
                .into_iter()
                .for_each(processes::end);
        }
        // `unshare` ends with its child, or without one by its closed input.
        let _ = self.child.wait();
    }
}

/// Returns the folder mounted at `/.files`.
pub(crate) fn files(folder: &Path) -> PathBuf {
    folder.join("files")
}

/// Writes a file for a container.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), BoardError> {
    fs::write(path, text).map_err(BoardError::io("writing", path))
}

/// Writes an executable script.
pub(crate) fn write_script(path: &Path, text: &str) -> Result<(), BoardError> {
    write(path, &format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(BoardError::io("making executable", path))
}

/// Makes a folder for a target, removed with its value.
pub(crate) fn folder(name: &str) -> Result<TempDir, BoardError> {
    tempfile::Builder::new()
        .prefix(&format!("graphprune-{name}-"))
        .tempdir()
        .map_err(|source| BoardError::Io {
            what: format!("creating a folder for {name}"),
            source,
        })
}
