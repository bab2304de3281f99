//! How a run tells its user what it is doing, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives what a run does. All methods have empty defaults.
pub trait Reporter {
    /// A stage of `total` steps begins; it may start at `done` when resumed.
    fn begin(&mut self, _stage: &str, _done: u64, _total: u64) {}
    /// The stage has reached `done`; `detail` is a short line of figures.
    fn step(&mut self, _done: u64, _detail: &str) {}
    /// The stage is over; `summary` is one line of what came out.
    fn end(&mut self, _summary: &str) {}
    /// Something worth a line of its own.
    fn note(&mut self, _line: &str) {}
    /// Something the user should act on or know when judging the result.
    fn warn(&mut self, _line: &str) {}
}

/// Reports nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoReporter;

impl Reporter for NoReporter {}

/// Set from a signal handler: the run stops at the next safe point, after a checkpoint.
#[derive(Debug, Default, Clone)]
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    /// Asks the run to stop. Returns whether it had been asked before.
    pub fn set(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether the run should stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
