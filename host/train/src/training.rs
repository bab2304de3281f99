//! The loop that all trainings share: batches, schedule, clipping, checkpoints, resuming, events, and noticing at once
//! when numbers stop being finite.

use std::path::Path;
use std::time::{Duration, Instant};

use datasets::{Batch, Loader, LoaderConfig};
use tch::{Device, Tensor};

use crate::TrainError;
use crate::checkpoint::{self, Meta};
use crate::observer::{Event, Observer};
use crate::sgd::{Sgd, SgdConfig};

/// How a training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// All epochs are done.
    Finished,
    /// The observer asked to stop; a checkpoint was written if there is a place for one.
    Stopped,
}

/// What a step did: its loss and how many images were classified rightly.
pub(crate) struct Done {
    pub loss: f64,
    pub correct: usize,
}

/// What differs between the trainings.
pub(crate) trait Task {
    fn stage(&self) -> &'static str;
    /// Forward, and the gradients into the optimiser, which was cleared before.
    fn step(&mut self, images: &Tensor, labels: &Tensor, step: u64) -> Result<Done, TrainError>;
    fn sgd(&mut self) -> &mut Sgd;
    /// Called after the update.
    fn updated(&mut self, step: u64) -> Result<(), TrainError>;
    /// The state besides the momentum.
    fn tensors(&self) -> Vec<(String, Tensor)>;
    /// Name of the first layer that is not finite.
    fn blame(&self, images: &Tensor, step: u64) -> String;

    /// One step on a batch: gradients, clipping, update.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] when the loss or the gradient is not finite; nothing is changed then.
    fn train_batch(
        &mut self,
        (images, labels): (&Tensor, &Tensor),
        at: Position,
        config: &SgdConfig,
        lr: f64,
    ) -> Result<Done, TrainError> {
        self.sgd().clear();
        let done = self.step(images, labels, at.step)?;
        let broken = |task: &Self, what| TrainError::NonFinite {
            stage: task.stage(),
            epoch: at.epoch,
            step: at.step,
            layer: task.blame(images, at.step),
            what,
            lr,
        };
        if !done.loss.is_finite() {
            return Err(broken(self, "the loss"));
        }
        let mut scale = 1.0;
        if config.clip_norm > 0.0 {
            let norm = self.sgd().gradient_norm()?;
            if !norm.is_finite() {
                return Err(broken(self, "the gradient"));
            }
            scale = (config.clip_norm / (norm + 1e-6)).min(1.0);
        }
        self.sgd().step(config, lr, scale)?;
        self.updated(at.step)?;
        Ok(done)
    }
}

/// Where a training stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Position {
    /// Epoch that goes on next.
    pub epoch: usize,
    /// Batches of that epoch already done.
    pub batch: usize,
    /// Steps done over all epochs.
    pub step: u64,
}

/// Everything about a run of the loop that is not the task.
pub(crate) struct Plan<'a> {
    pub loader: &'a Loader,
    pub epochs: usize,
    pub sgd: &'a SgdConfig,
    pub seed: u64,
    pub device: Device,
    pub checkpoint: Option<&'a Path>,
    pub checkpoint_every: Duration,
    pub fingerprint: String,
    pub kind: &'static str,
}

impl Plan<'_> {
    /// Takes up the checkpoint, if there is one.
    pub fn resume(&self, task: &mut dyn Task) -> Result<Position, TrainError> {
        let Some(path) = self.checkpoint else {
            return Ok(Position::default());
        };
        let Some((meta, held)) = checkpoint::load(path)? else {
            return Ok(Position::default());
        };
        if meta.kind != self.kind || meta.fingerprint != self.fingerprint {
            return Err(TrainError::Checkpoint {
                path: path.into(),
                reason: "made with other settings, another network or other data: use the same ones to resume, \
                         or a new folder"
                    .into(),
            });
        }
        let mut state = task.tensors();
        state.extend(task.sgd().state());
        checkpoint::restore(path, &held, &state)?;
        tracing::info!(
            epoch = meta.epoch,
            step = meta.step,
            "{} resumes",
            task.stage()
        );
        Ok(Position {
            epoch: meta.epoch,
            batch: meta.batch,
            step: meta.step,
        })
    }

    fn save(&self, task: &mut dyn Task, at: Position, lr: f64) -> Result<bool, TrainError> {
        let Some(path) = self.checkpoint else {
            return Ok(false);
        };
        let mut state = task.tensors();
        state.extend(task.sgd().state());
        // A broken state must never replace the last good one.
        check_finite(task.stage(), &state, at, lr)?;
        let meta = Meta {
            kind: self.kind.into(),
            fingerprint: self.fingerprint.clone(),
            seed: self.seed,
            epoch: at.epoch,
            batch: at.batch,
            step: at.step,
        };
        checkpoint::save(path, &meta, &state)?;
        Ok(true)
    }

    /// Trains from `at` to the end, keeping `at` up to date.
    pub fn run(
        &self,
        task: &mut dyn Task,
        at: &mut Position,
        observer: &mut dyn Observer,
    ) -> Result<Completion, TrainError> {
        let batches = self.loader.batches();
        if batches == 0 && self.epochs > 0 {
            let (held, batch) = (self.loader.dataset().len(), self.loader.config().batch);
            return Err(TrainError::TooFewImages {
                what: "the training data",
                held,
                batch,
            });
        }
        let steps = (batches * self.epochs) as u64;
        let warmup = (self.sgd.warmup_epochs.max(0.0) * batches as f64) as u64;
        let mut written = Instant::now();
        let mut speed = Speed::default();
        let mut lr = self.sgd.lr_at(at.step, steps, warmup);
        while at.epoch < self.epochs {
            for batch in self.loader.epoch_from(at.epoch as u64, at.batch) {
                let (images, labels) = tensors(&batch?, self.device)?;
                lr = self.sgd.lr_at(at.step, steps, warmup);
                let done = task.train_batch((&images, &labels), *at, self.sgd, lr)?;
                at.step += 1;
                at.batch += 1;
                if at.batch == batches {
                    (at.epoch, at.batch) = (at.epoch + 1, 0);
                }
                let due = at.batch == 0 || written.elapsed() >= self.checkpoint_every;
                let mut checkpointed = due && self.save(task, *at, lr)?;
                if checkpointed {
                    written = Instant::now();
                }
                let count = labels.size()[0] as usize;
                let event = Event {
                    stage: task.stage(),
                    epoch: ((at.step - 1) / batches as u64) as usize,
                    epochs: self.epochs,
                    step: at.step,
                    steps,
                    images_per_second: speed.after(count),
                    loss: done.loss,
                    accuracy: done.correct as f64 / count.max(1) as f64,
                    lr,
                    checkpointed,
                };
                if observer.progress(event).is_break() {
                    if !checkpointed {
                        checkpointed = self.save(task, *at, lr)?;
                    }
                    tracing::info!(step = at.step, checkpointed, "{} stops", task.stage());
                    return Ok(Completion::Stopped);
                }
            }
        }
        // The last step's weights are only known to be finite when they were saved; with no file, look here.
        if self.checkpoint.is_none() {
            check_finite(task.stage(), &task.tensors(), *at, lr)?;
        }
        Ok(Completion::Finished)
    }
}

fn check_finite(
    stage: &'static str,
    state: &[(String, Tensor)],
    at: Position,
    lr: f64,
) -> Result<(), TrainError> {
    for (name, tensor) in state {
        if tensor.detach().f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
            let (layer, what) = (name.clone(), "a weight");
            return Err(TrainError::NonFinite {
                stage,
                epoch: at.epoch,
                step: at.step,
                layer,
                what,
                lr,
            });
        }
    }
    Ok(())
}

/// Images per second, as a moving average.
#[derive(Default)]
struct Speed {
    last: Option<Instant>,
    rate: Option<f64>,
}

impl Speed {
    fn after(&mut self, images: usize) -> f64 {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let rate = images as f64 / (now - last).as_secs_f64().max(1e-9);
            self.rate = Some(self.rate.map_or(rate, |r| 0.9 * r + 0.1 * rate));
        }
        self.rate.unwrap_or(0.0)
    }
}

/// A batch as tensors: images `[N, C, H, W]` and labels `[N]`.
pub(crate) fn tensors(batch: &Batch, device: Device) -> Result<(Tensor, Tensor), TrainError> {
    let dims = batch.shape.map(|d| d as i64);
    let images = Tensor::f_from_slice(&batch.images)?
        .f_reshape(dims)?
        .f_to_device(device)?;
    let labels = Tensor::f_from_slice(&batch.labels)?.f_to_device(device)?;
    Ok((images, labels))
}

/// What of a loader decides over the batches: not how many threads make them.
pub(crate) fn loader_identity(loader: &Loader) -> (String, LoaderConfig) {
    (
        loader.dataset().identity(),
        LoaderConfig {
            workers: 0,
            prefetch: 0,
            ..loader.config().clone()
        },
    )
}
