//! The core behind an attached probe.

use std::time::Duration;

use probe_rs::{Core, CoreStatus, Error, HaltReason, MemoryInterface as _, Session};

use super::BoardFault;
use super::probe::chain;

/// How long a core may take to halt.
pub const HALT: Duration = Duration::from_millis(500);
/// The stack pointer, by its number for debuggers.
pub const SP: u16 = 13;
/// The program counter.
pub const PC: u16 = 15;

/// The halting control (Armv7-M Architecture Reference Manual, C1.6.2): a write needs the key, and
/// a core with debug enabled that is not to halt runs.
const DHCSR: u64 = 0xe000_edf0;
const RUN: u32 = 0xa05f_0001;

/// Lets a halted core run. probe-rs's own call first takes one step, off a breakpoint that might be
/// there, which costs as many accesses as a command; no breakpoint is set here.
pub fn run(core: &mut Core<'_>) -> Result<(), Error> {
    core.write_word_32(DHCSR, RUN)
}

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
