//! The errors of targets.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a target could not be started or used.
#[derive(thiserror::Error)]
pub enum BoardError {
    /// The set-up has not been run.
    #[error("{} is not there: run `cargo xtask setup --boards`", .0.display())]
    NoKit(PathBuf),
    /// This machine's architecture has no set-up.
    #[error("targets can be started on x86_64 and aarch64, not on {0}")]
    Architecture(&'static str),
    /// A file could not be read or written, or a socket could not be opened.
    #[error("{what}: {source}")]
    Io {
        /// The operation.
        what: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{program} ended with {status}: {output}")]
    Program {
        /// Its name.
        program: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// Its output.
        output: String,
    },
    /// A target ended before it was ready.
    #[error(
        "{target} ended before it was ready: {output}\nIt needs the right to make user, mount and PID namespaces: root, or \
         a kernel that lets users make them (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu, \
         kernel.unprivileged_userns_clone=1 on an old Debian, user.max_user_namespaces above 0), \
         no seccomp filter of a container against it, Linux 6.7 or later for an emulated board, and `unshare` and `mount` of util-linux"
    )]
    Ended {
        /// The target.
        target: String,
        /// The end of its log.
        output: String,
    },
    /// A condition did not become true in time.
    #[error(
        "{what} took longer than {}; the log of {target} ends with: {output}",
        seconds(limit)
    )]
    TimedOut {
        /// The target.
        target: String,
        /// The condition.
        what: &'static str,
        /// The time limit.
        limit: Duration,
        /// The end of its log.
        output: String,
    },
}

/// The message of a test that unwraps, where its reader needs the advice.
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
