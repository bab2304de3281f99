//! The agent's commands. `device-agent/src/board/mailbox.rs` is the other side.
//!
//! A command is ten words, an answer eight, lowest byte first. Networks, inputs and results are not
//! sent: the probe writes and reads them in memory.

use core::arch::asm;

use crate::counter::{self, Counter};

/// Words of a command: its number, the counter, then its arguments.
pub const COMMAND_WORDS: usize = 10;
/// Words of an answer: its status, then its results.
pub const ANSWER_WORDS: usize = 8;

/// The number of this protocol.
const PROTOCOL: u32 = 1;

const HELLO: u32 = 1;
const PACE: u32 = 2;

const DONE: u32 = 0;
const UNKNOWN: u32 = 1;
/// The core faulted; the next word is the fault status.
pub const FAULTED: u32 = 0x101;
/// The program panicked; the next word is the line.
pub const PANICKED: u32 = 0x102;

const CPUID: *const u32 = 0xe000_ed00 as *const u32;

/// Carries out a command.
pub fn answer(frame: &[u32; COMMAND_WORDS]) -> [u32; ANSWER_WORDS] {
    let [command, counter, arguments @ ..] = frame;
    match (*command, Counter::of(*counter)) {
        (HELLO, _) => hello(),
        (PACE, Some(counter)) => pace(counter, arguments[0]),
        _ => [UNKNOWN, 0, 0, 0, 0, 0, 0, 0],
    }
}

/// Answers with the protocol, the processor and whether it claims to count cycles.
fn hello() -> [u32; ANSWER_WORDS] {
    // SAFETY: the register exists on every Cortex-M, and reading it changes nothing.
    let cpuid = unsafe { CPUID.read_volatile() };
    let claims = u32::from(counter::claims_cycles());
    [DONE, PROTOCOL, cpuid, claims, 0, 0, 0, 0]
}

/// Counts a loop of known length: two instructions, of which a core needs at least one cycle.
fn pace(counter: Counter, rounds: u32) -> [u32; ANSWER_WORDS] {
    counter.start();
    let from = counter.now();
    // SAFETY: the loop only counts a register down.
    unsafe {
        asm!(
            "2: subs {left}, {left}, #1",
            "bne 2b",
            left = inout(reg) rounds.max(1) => _,
            options(nomem, nostack)
        );
    }
    let ticks = counter.now().wrapping_sub(from);
    counter.stop();
    [DONE, ticks, 0, 0, 0, 0, 0, 0]
}
