//! The transport to a bare-metal board: an agent on this machine, which opens the debug probe.

use std::path::PathBuf;
use std::time::Duration;

use agent_protocol::BoardSpec;

use super::link::{Launcher, Link};
use super::local::Local;
use crate::LatencyError;

/// A board behind a debug probe on this machine.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The user's name for the board.
    pub device: String,
    /// The probe: `VID:PID[:SERIAL]`, or `1d50:6018:HOST:PORT` on TCP.
    pub probe: String,
    /// The board, from the device's profile.
    pub board: Option<BoardSpec>,
    /// The agent's program, as in [`Local::agent`].
    pub agent: Option<PathBuf>,
}

impl Launcher for Probe {
    fn place(&self) -> String {
        format!("the probe {}", self.probe)
    }

    fn launch(&self, patience: Duration) -> Result<Link, LatencyError> {
        let board = self.board.clone().map(|board| BoardSpec {
            probe: self.probe.clone(),
            ..board
        });
        let local = Local {
            agent: self.agent.clone(),
            board: Some(board.ok_or_else(|| LatencyError::Profile {
                origin: self.device.clone(),
                problems: vec!["it has no [board]".into()],
            })?),
            ..Local::default()
        };
        local.launch(patience)
    }
}

/// Splits an address `lab@host/probe:VID:PID` into the machine and its probe.
pub(crate) fn at_machine(text: &str) -> Option<(&str, &str)> {
    text.split_once("/probe:")
}

/// Checks the notation of a probe's address.
///
/// # Errors
/// A description of the problem.
pub(crate) fn check(text: &str) -> Result<(), String> {
    let is_id = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
    let mut parts = text.splitn(3, ':');
    let ids = [parts.next(), parts.next()];
    let are_ids = ids.iter().all(|part| part.is_some_and(is_id));
    if are_ids && parts.next() != Some("") {
        return Ok(());
    }
    Err(format!(
        "`{text}` names no probe: write VID:PID or VID:PID:SERIAL with four hexadecimal digits each for the first two, as \
         `lsusb` lists them, or 1d50:6018:HOST:PORT"
    ))
}
