//! Where a training is, and what a step results in.

/// Result of a step: its loss, and the score of the batch.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StepResult {
    pub loss: f64,
    pub score: f64,
}

/// Progress of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Current epoch.
    pub epoch: usize,
    /// Finished batches of that epoch.
    pub batch: usize,
    /// Finished steps over all epochs.
    pub step: u64,
}
