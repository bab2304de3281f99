//! What the stages share while they work, and how they tell what they do.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use report::events::EventWriter;

use crate::config::RunConfig;
use crate::device::Meter;
use crate::error::PipelineError;
use crate::folder::RunFolder;
use crate::pace::{Change, Pace, Pacer};
use crate::progress::{Reporter, StopFlag};
use crate::records::{EpisodeRecord, Records, StageName};

/// What the stages share while they work.
pub(crate) struct Work<'a> {
    pub folder: &'a RunFolder,
    pub config: &'a RunConfig,
    pub records: &'a mut Records,
    pub meter: Option<Meter>,
    pub stop: &'a StopFlag,
    pub reporter: &'a mut dyn Reporter,
    pub events: EventWriter,
    /// How fast a training should go, where the number of threads is this run's to choose.
    pub pace: Option<Pace>,
    /// Threads of what has to come out the same, to the last bit, whenever the run is resumed: sums depend on their number.
    pub steady_threads: usize,
}

/// The pace of a run's trainings.
pub(crate) const PACE: &str = "pace";

/// What became of devices in the course of a run, over all its resumptions.
pub(crate) const DEVICE_NEWS: &str = "device-news";

impl Work<'_> {
    /// Tells which devices were set aside or came back since it was last called, and keeps it for the report.
    pub fn tell_device_news(&mut self) -> Result<(), PipelineError> {
        let news = self.meter.as_mut().map(Meter::news).unwrap_or_default();
        if news.is_empty() {
            return Ok(());
        }
        let stage = StageName::new(DEVICE_NEWS);
        let mut all: Vec<String> = self.records.stage(&stage)?.unwrap_or_default();
        for line in news {
            self.reporter.warn(&line);
            all.push(line);
        }
        self.records.finish(&stage, &all)
    }

    /// What `compute` gives with the run's steady number of threads, however many trainings use by now.
    pub fn steadily<T>(&self, compute: impl FnOnce() -> T) -> T {
        let now = torch_exec::threads();
        torch_exec::set_threads(self.steady_threads);
        let found = compute();
        torch_exec::set_threads(now);
        found
    }

    /// An observer of a training under the name `stage`.
    pub fn watch(&mut self, stage: &str) -> Result<Watch<'_>, PipelineError> {
        let pacer = self
            .pace
            .map(|pace| Pacer::new(pace, train::thread_counts(train::cores())));
        Ok(Watch {
            batch: self.config.batch,
            pacer,
            pace: &mut self.pace,
            records: self.records,
            stepped: Instant::now(),
            stage: stage.to_owned(),
            begun: false,
            last: 0,
            line: String::new(),
            stop: self.stop,
            reporter: self.reporter,
            events: &mut self.events,
        })
    }

    /// Writes an episode's figures for TensorBoard.
    pub fn event(
        &mut self,
        tag: &str,
        step: u64,
        record: &EpisodeRecord,
    ) -> Result<(), PipelineError> {
        let mut scalars = vec![
            ("accuracy", record.accuracy),
            ("reward", record.reward),
            ("macs", record.macs as f64),
        ];
        scalars.extend(record.ratio.map(|(ratio, ..)| ("latency_ratio", ratio)));
        for (name, value) in scalars {
            self.events
                .scalar(&format!("{tag}/{name}"), step, value as f32)
                .map_err(|e| {
                    PipelineError::io(&self.folder.path("events"), "write TensorBoard events", e)
                })?;
        }
        self.events.flush().map_err(|e| {
            PipelineError::io(&self.folder.path("events"), "write TensorBoard events", e)
        })
    }
}

/// A duration in whole nanoseconds.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Hands a training's progress to the reporter and to TensorBoard, and stops it when asked to.
pub(crate) struct Watch<'a> {
    stage: String,
    begun: bool,
    last: u64,
    line: String,
    stop: &'a StopFlag,
    reporter: &'a mut dyn Reporter,
    events: &'a mut EventWriter,
    batch: usize,
    pacer: Option<Pacer>,
    pace: &'a mut Option<Pace>,
    records: &'a mut Records,
    stepped: Instant,
}

impl Watch<'_> {
    /// Holds the training to its pace.
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
                measured,
                found,
            }) => {
                torch_exec::set_threads(pace.threads);
                *self.pace = Some(pace);
                let found: Vec<String> = found.into_iter().map(Pace::words).collect();
                self.reporter.note(&format!(
                    "{}: below a third of the {measured:.0} images/s that were measured, so threads were measured anew ({}); \
                     goes on with {}",
                    self.stage,
                    found.join(", "),
                    pace.threads
                ));
                // A resumed run would start with the old number; that must not end this one.
                if let Err(e) = self.records.finish(&StageName::new(PACE), &pace) {
                    tracing::warn!("the number of threads: {e}");
                }
            }
        }
    }

    /// Ends the progress of the stage and returns the steps done.
    pub fn finish(self) -> u64 {
        if self.begun {
            self.reporter.end(&format!("{}: {}", self.stage, self.line));
        }
        self.last
    }
}

impl Drop for Watch<'_> {
    /// A training may end while other threads are tried.
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
            "epoch {}/{}, loss {:.3}, batch accuracy {:.1} %, {:.0} images/s",
            event.epoch + 1,
            event.epochs,
            event.loss,
            event.accuracy * 100.0,
            event.images_per_second
        );
        self.reporter.step(event.step, &self.line);
        if event.step.is_multiple_of(10) {
            for (name, value) in [
                ("loss", event.loss),
                ("accuracy", event.accuracy),
                ("lr", event.lr),
            ] {
                // Losing a curve must not end a training; the next checkpoint would report a full disk.
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
