//! Progress events of a training.

use std::ops::ControlFlow;

/// A finished step of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The stage: `joint training`, `fine-tuning`, `training`.
    pub stage: &'static str,
    /// Epoch, from 0.
    pub epoch: usize,
    /// Number of epochs.
    pub epochs: usize,
    /// Finished steps over all epochs, including this one.
    pub step: u64,
    /// Number of steps over all epochs.
    pub steps: u64,
    /// Training images per second, smoothed over the last steps.
    pub images_per_second: f64,
    /// Loss of the step.
    pub loss: f64,
    /// Score on the step's batch, 0 to 1; in joint training, of the first network drawn.
    pub score: f64,
    /// Learning rate of the step.
    pub lr: f64,
    /// Whether a checkpoint was written after the step.
    pub checkpointed: bool,
}

/// Receives the progress of a training and can stop it.
pub trait Observer {
    /// Called after every step. `Break` writes a checkpoint and stops the training.
    fn progress(&mut self, event: Event) -> ControlFlow<()>;
}

impl<F: FnMut(Event) -> ControlFlow<()>> Observer for F {
    fn progress(&mut self, event: Event) -> ControlFlow<()> {
        self(event)
    }
}

/// An observer that ignores all events.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {
    fn progress(&mut self, _: Event) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}
