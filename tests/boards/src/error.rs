//! What can go wrong with a target.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a target could not be stood up or spoken to.
#[derive(thiserror::Error)]
pub enum BoardError {
    /// The set-up has not been run.
    #[error("{} is not there: run `cargo xtask setup --boards`", .0.display())]
    NoKit(PathBuf),
    /// This machine's architecture has no set-up.
    #[error("targets can be stood up on x86_64 and aarch64, not on {0}")]
    Architecture(&'static str),
    /// A file could not be read or written, or a socket not opened.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{program} ended with {status}: {said}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote.
        said: String,
    },
    /// A target ended while it was waited for.
    #[error(
        "{target} ended before it was ready: {said}\nIt needs the right to make user, mount and PID namespaces: root, or \
         a kernel that lets users make them (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, \
         kernel.unprivileged_userns_clone=1 on an old Debian, user.max_user_namespaces above 0), \
         no seccomp filter of a container against it, Linux 6.7 or later for an emulated board, and `unshare` and `mount` of util-linux"
    )]
    Ended {
        /// Which target.
        target: String,
        /// The end of its log.
        said: String,
    },
    /// A condition did not come about.
    #[error(
        "{what} took longer than {}; the log of {target} ends with: {said}",
        seconds(limit)
    )]
    TimedOut {
        /// Which target.
        target: String,
        /// What was waited for.
        what: &'static str,
        /// How long it was waited for.
        limit: Duration,
        /// The end of its log.
        said: String,
    },
}

/// A test that unwraps shows its reader this, and the reader needs the advice.
impl fmt::Debug for BoardError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl BoardError {
    pub(crate) fn io(what: &str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("{what} {}", path.display());
        move |source| Self::Io { what, source }
    }

    pub(crate) fn start(program: &str) -> impl FnOnce(std::io::Error) -> Self {
        let what = format!("starting {program}, which must be installed");
        move |source| Self::Io { what, source }
    }
}

fn seconds(time: &Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}
