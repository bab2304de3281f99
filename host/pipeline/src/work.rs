//! The state that the stages of a run share.

use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use measuring::Session;
use report::events::EventWriter;

use crate::config::RunConfig;
use crate::crew::Crew;
use crate::episodes::EpisodeRecord;
use crate::error::PipelineError;
use crate::folder::RunFolder;
use crate::news::DeviceNews;
use crate::pace::{Change, PACE, Pace, Pacer, Reason};
use crate::progress::{Reporter, StopFlag};
use crate::records::Records;

/// A run before its devices are started.
pub(crate) struct Opening<'a> {
    pub folder: &'a RunFolder,
    pub config: &'a RunConfig,
    pub records: &'a mut Records,
    pub stop: &'a StopFlag,
    pub reporter: &'a mut dyn Reporter,
    pub crew: Option<Rc<Crew>>,
}

/// The number of threads of a run's computations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threads {
    /// The expected speed of a training, where the number of its threads is not configured.
    pub pace: Option<Pace>,
    /// Threads of computations whose results must be equal to the last bit whenever the run is
    /// resumed: sums depend on their number.
    pub steady: usize,
}

/// A run with its devices.
pub(crate) struct Work<'a> {
    pub folder: &'a RunFolder,
    pub config: &'a RunConfig,
    pub records: &'a mut Records,
    pub stop: &'a StopFlag,
    pub reporter: &'a mut dyn Reporter,
    /// The other processes that train with this one.
    pub crew: Option<Rc<Crew>>,
    pub session: Session,
    pub news: DeviceNews,
    /// The name of the task's score.
    pub score: &'static str,
    events: EventWriter,
    threads: Threads,
}

impl<'a> Work<'a> {
    pub fn new(
        opening: Opening<'a>,
        session: Session,
        events: EventWriter,
        score: &'static str,
    ) -> Self {
        let Opening {
            folder,
            config,
            records,
            stop,
            reporter,
            crew,
        } = opening;
        Self {
            folder,
            config,
            records,
            stop,
            reporter,
            crew,
            session,
            news: DeviceNews::default(),
            score,
            events,
            threads: Threads {
                pace: None,
                steady: torch_exec::threads(),
            },
        }
    }

    /// Computes with these numbers of threads from now on; until then, with the library's own.
    pub fn run_with(&mut self, threads: Threads) {
        self.threads = threads;
    }

    /// Reports devices that were set aside or returned.
    pub fn report_devices(&mut self) -> Result<(), PipelineError> {
        self.news.report(&self.session, self.records, self.reporter)
    }

    /// Runs `compute` with the steady number of threads.
    pub fn steadily<T>(&self, compute: impl FnOnce() -> T) -> T {
        let before = torch_exec::threads();
        torch_exec::set_threads(self.threads.steady);
        let result = compute();
        torch_exec::set_threads(before);
        result
    }

    /// An observer of a training under the name `stage`.
    pub fn watch(&mut self, stage: &str) -> Watch<'_> {
        let pace = self.threads.pace;
        let pacer = pace.map(|pace| Pacer::new(pace, train::thread_counts(train::cores())));
        Watch {
            batch: self.config.batch,
            score: self.score,
            pacer,
            pace: &mut self.threads.pace,
            records: self.records,
            stepped: Instant::now(),
            stage: stage.to_owned(),
            begun: false,
            last: 0,
            line: String::new(),
            stop: self.stop,
            reporter: self.reporter,
            events: &mut self.events,
        }
    }

    /// Writes an episode's figures for TensorBoard.
    pub fn event(&mut self, record: &EpisodeRecord) -> Result<(), PipelineError> {
        let mut scalars = vec![
            ("accuracy", record.accuracy),
            ("reward", record.reward),
            ("macs", record.macs as f64),
        ];
        scalars.extend(record.ratio.map(|ratio| ("latency_ratio", ratio.value)));
        let strategy = record.strategy.name();
        let written = scalars.into_iter().try_for_each(|(name, value)| {
            let tag = format!("search/{strategy}/{name}");
            self.events.scalar(&tag, record.episode, value as f32)
        });
        written.and_then(|()| self.events.flush()).map_err(|e| {
            PipelineError::io(&self.folder.path("events"), "write TensorBoard events", e)
        })
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        if let Err(e) = self.events.flush() {
            tracing::warn!("TensorBoard events: {e}");
        }
    }
}

/// A duration in whole nanoseconds.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Passes a training's progress to the reporter and to TensorBoard, and stops the training when
/// the user does.
pub(crate) struct Watch<'a> {
    stage: String,
    begun: bool,
    last: u64,
    line: String,
    stop: &'a StopFlag,
    reporter: &'a mut dyn Reporter,
    events: &'a mut EventWriter,
    batch: usize,
    score: &'static str,
    pacer: Option<Pacer>,
    pace: &'a mut Option<Pace>,
    records: &'a mut Records,
    stepped: Instant,
}

impl Watch<'_> {
    /// Compares the training with its pace, and changes the number of threads where it falls
    /// behind.
    fn pace(&mut self) {
        let took = self.stepped.elapsed().as_secs_f64();
        self.stepped = Instant::now();
        let change = self
            .pacer
            .as_mut()
            .and_then(|pacer| pacer.step(self.batch as f64 / took.max(1e-9)));
        match change {
            None => {}
            Some(Change::Try(threads)) => torch_exec::set_threads(threads),
            Some(Change::Settle {
                pace,
                before,
                reason,
                found,
            }) => {
                torch_exec::set_threads(pace.threads);
                *self.pace = Some(pace);
                let found: Vec<String> = found.into_iter().map(Pace::words).collect();
                let reason = match reason {
                    Reason::Behind(speed) => {
                        Some(format!("slower than a third of {speed:.0} images/s"))
                    }
                    Reason::Retry if pace.threads != before => {
                        Some("the number of threads is tried again".to_owned())
                    }
                    Reason::Retry => None,
                };
                if let Some(reason) = reason {
                    self.reporter.note(&format!(
                        "{}: {reason} ({}); continues with {}",
                        self.stage,
                        found.join(", "),
                        pace.threads
                    ));
                }
                // Without the record a resumed run starts with the old number, which is no reason
                // to end this one.
                if let Err(e) = self.records.finish(&PACE, &pace) {
                    tracing::warn!("the number of threads: {e}");
                }
            }
        }
    }

    /// Ends the progress of the stage, and returns the number of steps done.
    pub fn finish(self) -> u64 {
        if self.begun {
            self.reporter.end(&format!("{}: {}", self.stage, self.line));
        }
        self.last
    }
}

impl Drop for Watch<'_> {
    /// A training may end in the middle of a trial of other threads.
    fn drop(&mut self) {
        if let Some(pace) = *self.pace {
            torch_exec::set_threads(pace.threads);
        }
    }
}

impl train::Observer for Watch<'_> {
    fn progress(&mut self, event: train::Event) -> ControlFlow<()> {
        self.pace();
        if !self.begun {
            self.reporter
                .begin(&self.stage, event.step.saturating_sub(1), event.steps);
            self.begun = true;
        }
        self.last = event.step;
        self.line = format!(
            "epoch {}/{}, loss {:.3}, batch {} {:.1} %, {:.0} images/s",
            event.epoch + 1,
            event.epochs,
            event.loss,
            self.score,
            event.score * 100.0,
            event.images_per_second
        );
        self.reporter.step(event.step, &self.line);
        if event.step.is_multiple_of(10) {
            for (name, value) in [
                ("loss", event.loss),
                (self.score, event.score),
                ("lr", event.lr),
            ] {
                // A lost curve is no reason to end a training; the next checkpoint reports a full
                // disk.
                if let Err(e) =
                    self.events
                        .scalar(&format!("{}/{name}", self.stage), event.step, value as f32)
                {
                    tracing::warn!("TensorBoard events: {e}");
                }
            }
        }
        if self.stop.is_set() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}
