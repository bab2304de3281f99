//! The worker's events.

use std::fs::File;

use agent_protocol::wire::worker_event::Event;
use agent_protocol::{Failure, Progress, Stage, bounds, frame, plain, wire};

use super::error::WorkerError;

/// The pipe to the agent, and the progress so far.
pub struct Events {
    pipe: File,
    /// Reported by [`Events::report`].
    pub progress: Progress,
}

impl Events {
    /// Takes over the pipe.
    pub fn new(pipe: File) -> Self {
        Self {
            pipe,
            progress: Progress::at(Stage::Start),
        }
    }

    /// Reports the next stage and its model.
    pub fn enter(&mut self, stage: Stage, model: &str) {
        self.progress = Progress {
            stage,
            model: model.to_owned(),
            ..self.progress.clone()
        };
        self.report();
    }

    /// Reports the progress.
    pub fn report(&mut self) {
        self.send(Event::Progress(self.progress.clone().into()));
    }

    /// Sends the final event.
    pub fn finish(mut self, outcome: Result<Event, WorkerError>) {
        let event = outcome.unwrap_or_else(|WorkerError { kind, detail }| {
            let failure = Failure {
                kind,
                stage: self.progress.stage,
                model: self.progress.model.clone(),
                // The runtime's message may contain a name of any length.
                detail: plain::cut(detail, bounds::MAX_TEXT_BYTES),
            };
            Event::Failure(failure.into())
        });
        self.send(event);
    }

    fn send(&mut self, event: Event) {
        let message = wire::WorkerEvent { event: Some(event) };
        // A closed pipe means that the agent is gone, and then the kernel ends this process.
        let _ = frame::write(&mut self.pipe, &message);
    }
}
