//! A Python program whose time is compared with this project's. It answers each line with one
//! line.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::models::{peer_script, python};

/// A running peer, which ends when it is dropped.
pub struct Peer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Peer {
    /// Starts `script` of `tests/peers` with the interpreter in `.deps/peers`, or the one that
    /// `GRAPHPRUNE_PEERS_PYTHON` names; `None` if it is missing or does not start.
    #[must_use]
    pub fn start(script: &str) -> Option<Self> {
        let python = std::env::var_os("GRAPHPRUNE_PEERS_PYTHON").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../.deps/peers/bin/python"),
            PathBuf::from,
        );
        Self::start_with(&python, script)
    }

    /// Starts `script` of `tests/peers` with the interpreter that ONNX Runtime's library comes
    /// from; `None` if it does not start.
    #[must_use]
    pub fn start_runtime(script: &str) -> Option<Self> {
        Self::start_with(&python(), script)
    }

    fn start_with(python: &Path, script: &str) -> Option<Self> {
        if !python.exists() {
            return None;
        }
        let mut child = Command::new(python)
            .arg(peer_script(script))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let input = child.stdin.take()?;
        let output = BufReader::new(child.stdout.take()?);
        Some(Self {
            child,
            input,
            output,
        })
    }

    /// Returns the answer to a line.
    ///
    /// # Panics
    /// When the peer is gone; its standard error has the reason.
    pub fn ask(&mut self, line: &str) -> String {
        writeln!(self.input, "{line}").expect("the peer reads");
        let mut answer = String::new();
        self.output
            .read_line(&mut answer)
            .expect("the peer answers");
        answer.trim().to_owned()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The peer ends on "quit"; an error means that it has ended already.
        let _ = writeln!(self.input, "quit");
        let _ = self.child.wait();
    }
}
