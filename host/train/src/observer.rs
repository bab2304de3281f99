//! What a training tells whoever watches it.

use std::ops::ControlFlow;

/// One step of a training, or its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The stage: `joint training`, `fine-tuning`, `training`.
    pub stage: &'static str,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Steps done over all epochs, this one included.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// Training images per second, smoothed over the last steps.
    pub images_per_second: f64,
    /// Loss of the step.
    pub loss: f64,
    /// Accuracy on the step's batch, 0 to 1 (of the first network trained on it).
    pub accuracy: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Whether a checkpoint was written after the step.
    pub checkpointed: bool,
}

/// Watches a training and may stop it.
pub trait Observer {
    /// Called after every step. `Break` writes a checkpoint and stops cleanly.
    fn progress(&mut self, event: Event) -> ControlFlow<()>;
}

impl<F: FnMut(Event) -> ControlFlow<()>> Observer for F {
    fn progress(&mut self, event: Event) -> ControlFlow<()> {
        self(event)
    }
}

/// An observer that looks away.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: Event) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
