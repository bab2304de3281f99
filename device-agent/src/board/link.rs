//! The core behind an attached probe.

use std::time::Duration;

use probe_rs::{Core, CoreStatus, Error, HaltReason, Session};

use super::BoardFault;
use super::probe::chain;

/// How long a core may take to halt.
pub const HALT: Duration = Duration::from_millis(500);
/// The stack pointer, by its number for debuggers.
pub const SP: u16 = 13;
/// The program counter.
pub const PC: u16 = 15;

/// The core of a session.
pub fn core<'a>(session: &'a mut Session, doing: &'static str) -> Result<Core<'a>, BoardFault> {
    session.core(0).map_err(|error| lost(doing, &error))
}

/// The fault of a connection that fails.
pub fn lost(doing: &'static str, error: &Error) -> BoardFault {
    BoardFault::Lost {
        doing,
        detail: chain(error),
    }
}

/// Fails if the core no longer runs.
pub fn check_running(core: &mut Core<'_>, doing: &'static str) -> Result<(), BoardFault> {
    match core.status().map_err(|error| lost(doing, &error))? {
        CoreStatus::LockedUp => Err(BoardFault::LockedUp { doing }),
        CoreStatus::Halted(HaltReason::Exception) => Err(BoardFault::Faulted { doing, status: 0 }),
        _ => Ok(()),
    }
}
