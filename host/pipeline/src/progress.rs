//! Progress reports, and the flag that stops a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Receives the progress of a run. All methods have empty defaults.
pub trait Reporter {
    /// A stage of `total` steps begins; it may start at `done` when resumed.
    fn begin(&mut self, _stage: &str, _done: u64, _total: u64) {}
    /// The stage has reached `done`; `detail` is a short line of figures.
    fn step(&mut self, _done: u64, _detail: &str) {}
    /// The stage has ended; `summary` is its result in one line.
    fn end(&mut self, _summary: &str) {}
    /// A remark.
    fn note(&mut self, _line: &str) {}
    /// A warning that the user should act on, or know when judging the result.
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
    /// Sets the flag. Returns whether it was set before.
    pub fn set(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether the run should stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
