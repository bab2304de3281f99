//! The loop common to all trainings: batches, schedule, clipping, checkpoints, resuming, events
//! and immediate detection of non-finite numbers.

use std::path::Path;
use std::time::{Duration, Instant};

use collective::Team;
use datasets::{Batch, Loader, LoaderConfig};
use tch::{Device, Tensor};

use crate::TrainError;
use crate::checkpoint::{self, Meta};
use crate::exchange::{Exchange, begin_together};
use crate::observer::{Event, Observer};
use crate::position::{Position, StepResult};
use crate::sgd::{Sgd, SgdConfig};

/// End of a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completion {
    /// All epochs are done.
    Finished,
    /// The observer stopped the training; the state is in the checkpoint, if there is one.
    Stopped,
}

/// This process's slice of a batch: its share of the rows, and the way to the other processes.
pub(crate) struct Slice<'s, 'a> {
    pub exchange: &'s mut Exchange<'a>,
    pub share: f64,
}

/// The parts in which trainings differ.
pub(crate) trait Steps {
    fn stage(&self) -> &'static str;
    /// Runs the forward pass and adds the gradients to the cleared optimiser.
    fn step(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        step: u64,
    ) -> Result<StepResult, TrainError>;
    fn sgd(&mut self) -> &mut Sgd;
    /// Whether the forward pass sums over all processes, so that each of them must make it.
    fn is_synced(&self) -> bool {
        false
    }
    /// Called after the update.
    fn updated(&mut self, step: u64) -> Result<(), TrainError>;
    /// The state without the momentum.
    fn tensors(&self) -> Vec<(String, Tensor)>;
    /// The running statistics that a step changes.
    fn statistics(&self) -> Vec<(String, Tensor)> {
        Vec::new()
    }
    /// Name of the first layer with non-finite numbers.
    fn blame(&self, images: &Tensor, step: u64) -> String;

    /// Trains on one batch, or on this process's slice of it: gradients, clipping, update.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] if the loss or the gradient is not finite; the weights are
    /// unchanged then.
    fn train_batch(
        &mut self,
        (images, labels): (&Tensor, &Tensor),
        position: Position,
        (config, lr): (&SgdConfig, f64),
        mut slice: Option<Slice<'_, '_>>,
    ) -> Result<StepResult, TrainError> {
        self.sgd().clear();
        let own = match slice {
            Some(Slice { share, .. }) if share <= 0.0 => Ok(StepResult::default()),
            _ => self.step(images, labels, position.step),
        };
        let (result, norm, root) = match &mut slice {
            None => (own?, None, 0),
            Some(Slice { exchange, share }) => {
                let common = exchange.sum(self.sgd(), own, *share)?;
                let root = common.broken.unwrap_or(0);
                (common.result, Some(common.norm), root)
            }
        };
        let broken = |task: &Self, what| {
            let find = || task.blame(images, position.step);
            let layer = match &slice {
                None => find(),
                Some(slice) => match slice.exchange.layer(root, find) {
                    Ok(layer) => layer,
                    Err(error) => return error,
                },
            };
            TrainError::NonFinite {
                stage: task.stage(),
                epoch: position.epoch,
                step: position.step,
                layer,
                what,
                lr,
            }
        };
        if !result.loss.is_finite() {
            return Err(broken(self, "the loss"));
        }
        let mut scale = 1.0;
        if config.clip_norm > 0.0 {
            let norm = match norm {
                Some(norm) => norm,
                None => self.sgd().gradient_norm()?,
            };
            if !norm.is_finite() {
                return Err(broken(self, "the gradient"));
            }
            scale = (config.clip_norm / (norm + 1e-6)).min(1.0);
        }
        self.sgd().step(config, lr, scale)?;
        self.updated(position.step)?;
        Ok(result)
    }
}

/// Everything about a run of the loop except the task.
pub(crate) struct Schedule<'a> {
    pub loader: &'a Loader,
    /// The processes that train together; the first one has the checkpoint.
    pub team: Option<&'a Team>,
    pub epochs: usize,
    pub sgd: &'a SgdConfig,
    pub seed: u64,
    pub device: Device,
    pub checkpoint: Option<&'a Path>,
    pub checkpoint_every: Duration,
    pub fingerprint: String,
    pub kind: &'static str,
}

impl Schedule<'_> {
    /// Restores the checkpoint, if there is one, on all processes.
    pub fn resume(&self, task: &mut dyn Steps) -> Result<Position, TrainError> {
        let found = self.restore(task);
        let Some(team) = self.team else {
            return found;
        };
        let mut state = task.tensors();
        state.extend(task.sgd().state());
        begin_together(team, found, state)
    }

    /// The file of the process that has it.
    fn file(&self) -> Option<&Path> {
        let leads = self.team.is_none_or(Team::leads);
        self.checkpoint.filter(|_| leads)
    }

    fn restore(&self, task: &mut dyn Steps) -> Result<Position, TrainError> {
        let Some(path) = self.file() else {
            return Ok(Position::default());
        };
        let Some((meta, stored)) = checkpoint::load(path)? else {
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
        checkpoint::restore(path, &stored, &state)?;
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

    fn save(&self, task: &mut dyn Steps, position: Position, lr: f64) -> Result<bool, TrainError> {
        let Some(path) = self.file() else {
            return Ok(false);
        };
        let mut state = task.tensors();
        state.extend(task.sgd().state());
        // A non-finite state must never replace the last good one.
        check_finite(task.stage(), &state, position, lr)?;
        let meta = Meta {
            kind: self.kind.into(),
            fingerprint: self.fingerprint.clone(),
            seed: self.seed,
            epoch: position.epoch,
            batch: position.batch,
            step: position.step,
        };
        checkpoint::save(path, &meta, &state)?;
        Ok(true)
    }

    /// Checks that every process has a row of each batch.
    fn check_rows(&self) -> Result<(), TrainError> {
        let ranks = self.team.map_or(1, Team::size);
        let (held, config) = (self.loader.dataset().len(), self.loader.config());
        let last = match held % config.batch.max(1) {
            0 => config.batch,
            rest if !config.drop_last => rest,
            _ => config.batch,
        };
        match last < ranks {
            true => Err(TrainError::TooFewImages {
                what: "a batch that is normalised as a whole",
                held: last,
                batch: ranks,
            }),
            false => Ok(()),
        }
    }

    /// Trains from `position` to the end and keeps `position` up to date.
    pub fn run(
        &self,
        task: &mut dyn Steps,
        position: &mut Position,
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
        let mut throughput = Throughput::default();
        let mut lr = self.sgd.lr_at(position.step, steps, warmup);
        let statistics = task.statistics();
        let mut exchange = self
            .team
            .map(|team| Exchange::new(team, task.sgd(), statistics));
        if task.is_synced() {
            self.check_rows()?;
        }
        let loader = match self.team {
            Some(team) => self.loader.slice(team.rank(), team.size()),
            None => self.loader.clone(),
        };
        while position.epoch < self.epochs {
            let epoch = position.epoch as u64;
            for batch in loader.epoch_from(epoch, position.batch) {
                let read = batch.map_err(TrainError::from).and_then(|batch| {
                    let (images, labels) = tensors(&batch, self.device)?;
                    Ok((images, labels, batch.whole))
                });
                if let Some(exchange) = exchange.as_mut().filter(|_| task.is_synced()) {
                    exchange.begin_step(read.is_ok())?;
                }
                let (images, labels, count) = match (read, &mut exchange) {
                    (Err(error), Some(_)) if task.is_synced() => return Err(error),
                    (Ok(read), _) => read,
                    (Err(error), Some(exchange)) => {
                        return Err(exchange.give_up(task.sgd(), error));
                    }
                    (Err(error), None) => return Err(error),
                };
                lr = self.sgd.lr_at(position.step, steps, warmup);
                let share = labels.size()[0] as f64 / count as f64;
                let slice = exchange.as_mut().map(|exchange| Slice { exchange, share });
                let rates = (self.sgd, lr);
                let result = task.train_batch((&images, &labels), *position, rates, slice)?;
                position.step += 1;
                position.batch += 1;
                if position.batch == batches {
                    (position.epoch, position.batch) = (position.epoch + 1, 0);
                }
                let due = position.batch == 0 || written.elapsed() >= self.checkpoint_every;
                let mut checkpointed = due && self.save(task, *position, lr)?;
                if checkpointed {
                    written = Instant::now();
                }
                let event = Event {
                    stage: task.stage(),
                    epoch: ((position.step - 1) / batches as u64) as usize,
                    epochs: self.epochs,
                    step: position.step,
                    steps,
                    images_per_second: throughput.add(count),
                    loss: result.loss,
                    score: result.score,
                    lr,
                    checkpointed,
                };
                let mut stops = observer.progress(event).is_break();
                if let Some(exchange) = &mut exchange {
                    // The next sum carries the wish, and all stop after that step.
                    exchange.wishes_to_stop = stops;
                    stops = exchange.stops;
                }
                if stops {
                    if !checkpointed {
                        checkpointed = self.save(task, *position, lr)?;
                    }
                    let step = position.step;
                    tracing::info!(step, checkpointed, "{} stops", task.stage());
                    return Ok(Completion::Stopped);
                }
            }
        }
        // Saving checks that the last weights are finite; without a checkpoint, check here.
        if self.checkpoint.is_none() {
            check_finite(task.stage(), &task.tensors(), *position, lr)?;
        }
        Ok(Completion::Finished)
    }
}

fn check_finite(
    stage: &'static str,
    state: &[(String, Tensor)],
    position: Position,
    lr: f64,
) -> Result<(), TrainError> {
    for (name, tensor) in state {
        if tensor.detach().f_isfinite()?.f_all()?.f_int64_value(&[])? != 1 {
            return Err(TrainError::NonFinite {
                stage,
                epoch: position.epoch,
                step: position.step,
                layer: name.clone(),
                what: "a weight",
                lr,
            });
        }
    }
    Ok(())
}

/// Images per second, as a moving average.
#[derive(Default)]
pub(crate) struct Throughput {
    last: Option<Instant>,
    rate: Option<f64>,
}

impl Throughput {
    /// Counts images, and returns the rate.
    pub fn add(&mut self, images: usize) -> f64 {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            let rate = images as f64 / (now - last).as_secs_f64().max(1e-9);
            self.rate = Some(self.rate.map_or(rate, |r| 0.9 * r + 0.1 * rate));
        }
        self.rate.unwrap_or(0.0)
    }
}

/// Converts a batch into images `[N, C, H, W]` and labels `[N]`, or targets `[N, targets]`.
pub(crate) fn tensors(batch: &Batch, device: Device) -> Result<(Tensor, Tensor), TrainError> {
    let dims = batch.shape.map(|d| d as i64);
    let images = Tensor::f_from_slice(&batch.images)?
        .f_reshape(dims)?
        .f_to_device(device)?;
    let labels = if batch.targets.is_empty() {
        Tensor::f_from_slice(&batch.labels)?
    } else {
        Tensor::f_from_slice(&batch.targets)?.f_reshape([batch.labels.len() as i64, -1])?
    };
    Ok((images, labels.f_to_device(device)?))
}

/// The share of a batch that logits `[N, classes]` name correctly.
pub(crate) fn share_correct(logits: &Tensor, labels: &Tensor) -> Result<f64, TrainError> {
    let count = labels.size()[0].max(1) as f64;
    Ok(torch_exec::accuracy(logits, labels)? as f64 / count)
}

/// Returns the properties of a loader that determine its batches; the number of threads does not.
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
