//! Processes in namespaces of their own, over a file system put together for them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::poll::{self, PATIENCE};
use crate::{BoardError, Kit, System, processes};

const SCRIPT: &str = include_str!("place.sh");
/// The folders of a system that a place shows, where they exist.
const WHOLE: &str = "bin etc lib lib32 lib64 libx32 opt sbin usr";
/// How much of a log an error shows, in bytes.
const SHOWN: usize = 2000;

/// The user that a server in a place runs as.
pub(crate) const USER: &str = "tester";

/// What a place's processes see below their root.
pub(crate) struct Root<'a> {
    pub(crate) kit: &'a Kit,
    pub(crate) system: System,
    /// Size of the home folder, which is in memory, in bytes.
    pub(crate) home_bytes: u64,
}

/// How to start a place.
pub(crate) struct Start<'a> {
    /// What errors call it.
    pub(crate) name: &'a str,
    /// Holds the log, and what the place's processes see as `/.files`.
    pub(crate) folder: &'a Path,
    /// A root of its own; without it this machine's.
    pub(crate) root: Option<Root<'a>>,
    /// No network but a loopback interface of its own.
    pub(crate) alone: bool,
    /// Commands for the shell of the first process, after the file system is made. The place ends with the last one.
    pub(crate) commands: &'a str,
}

/// A running place; dropping it ends all of its processes.
#[derive(Debug)]
pub(crate) struct Place {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Start<'_> {
    pub(crate) fn start(&self) -> Result<Place, BoardError> {
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
        // The shell must stay to be the first process, so what it ends with is no program.
        unshare.args(["sh", "-c", &format!("{SCRIPT}{}\nexit $?", self.commands)]);
        unshare.env_clear();
        // A shell without PATH has a default, yet children of the programs it starts have none.
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
        Ok(Place {
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
            // The programs of the kit must not load this machine's modules for looking up users.
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

impl Place {
    /// The number of the process outside of the namespaces, above all processes of the place.
    pub(crate) fn number(&self) -> u32 {
        self.child.id()
    }

    /// The end of what the place's processes wrote.
    pub(crate) fn log(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        let from = bytes.len().saturating_sub(SHOWN);
        String::from_utf8_lossy(bytes.get(from..).unwrap_or_default())
            .trim()
            .to_owned()
    }

    /// Waits until `ready` has an answer. Fails at once when the place ends.
    pub(crate) fn wait<T>(
        &mut self,
        what: &'static str,
        mut ready: impl FnMut(&Self) -> Result<Option<T>, BoardError>,
    ) -> Result<T, BoardError> {
        let answer = poll::until(PATIENCE, || match ready(self)? {
            None if self.has_ended() => Err(BoardError::Ended {
                target: self.name.clone(),
                said: self.log(),
            }),
            answer => Ok(answer),
        })?;
        answer.ok_or_else(|| BoardError::TimedOut {
            target: self.name.clone(),
            what,
            limit: PATIENCE,
            said: self.log(),
        })
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)) | Err(_))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        if !self.has_ended() {
            processes::children(self.number())
                .into_iter()
                .for_each(processes::end);
        }
        // The unshared parent ends with its child, and without one by its closed input.
        let _ = self.child.wait();
    }
}

/// What a place's processes see as `/.files`.
pub(crate) fn files(folder: &Path) -> PathBuf {
    folder.join("files")
}

/// Writes a file that a place needs.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), BoardError> {
    fs::write(path, text).map_err(BoardError::io("writing", path))
}

/// Writes a script that can be started by its path.
pub(crate) fn write_script(path: &Path, text: &str) -> Result<(), BoardError> {
    write(path, &format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
        .map_err(BoardError::io("making executable", path))
}

/// A folder for a target, removed with its value.
pub(crate) fn folder(name: &str) -> Result<TempDir, BoardError> {
    tempfile::Builder::new()
        .prefix(&format!("graphprune-{name}-"))
        .tempdir()
        .map_err(|source| BoardError::Io {
            what: format!("creating a folder for {name}"),
            source,
        })
}

/// A port of the loopback interface that nobody listened on a moment ago.
pub(crate) fn free_port() -> Result<u16, BoardError> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(|source| BoardError::Io {
            what: "looking for a free port".to_owned(),
            source,
        })
}
