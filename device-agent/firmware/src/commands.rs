//! The agent's commands. `device-agent/src/board/mailbox.rs` is the other side.
//!
//! A command is eleven words, an answer eight, lowest byte first. Networks, inputs and results are
//! not sent: the probe writes and reads them in memory.

use core::arch::asm;

use int8_engine::{Observer, Plan};

use crate::counter::{self, Counter};

/// Words of a command: its number, the counter, then its arguments.
pub const COMMAND_WORDS: usize = 11;
/// Words of an answer: its status, then its results.
pub const ANSWER_WORDS: usize = 8;

/// The number of this protocol.
const PROTOCOL: u32 = 2;
/// The most runs of one command: the ticks of each are in its answer.
const MOST_RUNS: usize = ANSWER_WORDS - 1;

const HELLO: u32 = 1;
const PACE: u32 = 2;
const COUNT: u32 = 3;
const RUN: u32 = 4;

const DONE: u32 = 0;
const UNKNOWN: u32 = 1;
const BAD_PLAN: u32 = 2;
const NOT_RUN: u32 = 3;
/// The buffer of counts has fewer words than the plan operators.
const FEW_COUNTS: u32 = 4;
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
        (COUNT, Some(counter)) => {
            counter.start();
            done(&[counter.now()])
        }
        (RUN, Some(counter)) => run(counter, arguments),
        _ => refused(UNKNOWN),
    }
}

/// Answers with the protocol, the processor and whether it claims to count cycles.
fn hello() -> [u32; ANSWER_WORDS] {
    // SAFETY: the register exists on every Cortex-M, and reading it changes nothing.
    let cpuid = unsafe { CPUID.read_volatile() };
    let claims = u32::from(counter::claims_cycles());
    done(&[PROTOCOL, cpuid, claims])
}

/// Counts the ticks of a loop of known length. A round has two instructions and takes at least one
/// cycle.
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
    done(&[ticks])
}

fn done(results: &[u32]) -> [u32; ANSWER_WORDS] {
    let mut answer = [DONE, 0, 0, 0, 0, 0, 0, 0];
    for (to, result) in answer[1..].iter_mut().zip(results) {
        *to = *result;
    }
    answer
}

fn refused(reason: u32) -> [u32; ANSWER_WORDS] {
    [reason, 0, 0, 0, 0, 0, 0, 0]
}

/// Counts each operator.
struct Counts<'a> {
    counter: Counter,
    began: u32,
    each: &'a mut [u32],
}

impl Observer for Counts<'_> {
    fn begin(&mut self, _op: usize) {
        self.began = self.counter.now();
    }

    fn end(&mut self, op: usize) {
        let ticks = self.counter.now().wrapping_sub(self.began);
        if let Some(count) = self.each.get_mut(op) {
            *count = ticks;
        }
    }
}

/// Runs a plan. The arguments are address and length of the plan, the weights, the arena and the
/// counts, which the agent places in memory that the firmware does not use, and the number of
/// runs. The counts are those of the last one. Where there are several, the others find what the
/// one before left in the arena, on whose values no time depends.
fn run(counter: Counter, arguments: &[u32]) -> [u32; ANSWER_WORDS] {
    let &[
        plan,
        plan_bytes,
        weights,
        weight_bytes,
        arena,
        arena_bytes,
        counts,
        count_words,
        runs,
    ] = arguments
    else {
        return refused(UNKNOWN);
    };
    // SAFETY: the agent gives parts of memory that exist, do not overlap and are used by nothing
    // else until this command is answered. Every byte is a value of these types, and the words'
    // place is a multiple of four.
    let (plan, weights, arena, counts) = unsafe {
        (
            core::slice::from_raw_parts(plan as *const u8, plan_bytes as usize),
            core::slice::from_raw_parts(weights as *const u8, weight_bytes as usize),
            core::slice::from_raw_parts_mut(arena as *mut u8, arena_bytes as usize),
            core::slice::from_raw_parts_mut(counts as *mut u32, count_words as usize),
        )
    };
    let Ok(plan) = Plan::parse(plan) else {
        return refused(BAD_PLAN);
    };
    if counts.len() < plan.len() {
        return refused(FEW_COUNTS);
    }
    let mut ticks = [0; MOST_RUNS];
    let runs = (runs as usize).clamp(1, MOST_RUNS);
    for ticks in &mut ticks[..runs] {
        counter.start();
        let from = counter.now();
        let mut observer = Counts {
            counter,
            began: from,
            each: counts,
        };
        let outcome = int8_engine::run(&plan, weights, arena, &mut observer);
        *ticks = counter.now().wrapping_sub(from);
        counter.stop();
        if outcome.is_err() {
            return refused(NOT_RUN);
        }
    }
    done(&ticks)
}
