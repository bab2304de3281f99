//! Runs of a network that is on a board.

use std::time::Duration;

use probe_rs::MemoryInterface as _;

use super::BoardFault;
use super::layout::Placed;
use super::link::lost;
use super::mailbox::{ANSWER_WORDS, Command, Counter, MOST_RUNS};
use super::talk::Talk;

/// The counts of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Ticks of the whole run.
    pub ticks: u32,
    /// Ticks of each operator.
    pub operators: Vec<u32>,
}

/// A network that is on a board.
pub struct Runner<'a> {
    pub(super) talk: Talk<'a>,
    pub(super) counter: Counter,
    pub(super) placed: Placed,
    pub(super) within: Duration,
}

impl Runner<'_> {
    /// Runs it once.
    pub fn run(&mut self) -> Result<Counted, BoardFault> {
        let [ticks, ..] = self.ask(1)?;
        let mut operators = vec![0; self.placed.counts.1 as usize];
        let counts = u64::from(self.placed.counts.0);
        let read = self.talk.core.read_32(counts, &mut operators);
        read.map_err(|error| lost("reading the counts", &error))?;
        Ok(Counted { ticks, operators })
    }

    /// Runs it several times in a row, which takes one command, and returns the ticks of each run.
    /// The first finds the input that was written, the others what the one before left.
    pub fn runs(&mut self, runs: u32) -> Result<Vec<u32>, BoardFault> {
        let runs = runs.clamp(1, MOST_RUNS);
        let ticks = self.ask(runs)?;
        Ok(ticks[..runs as usize].to_vec())
    }

    fn ask(&mut self, runs: u32) -> Result<[u32; ANSWER_WORDS - 1], BoardFault> {
        let placed = &self.placed;
        let command = Command::Run {
            counter: self.counter,
            plan: placed.plan,
            weights: placed.weights,
            arena: placed.arena,
            counts: placed.counts,
            runs,
        };
        self.talk.ask(command, self.within)
    }
}
