//! Batches, decoded and augmented ahead of time by worker threads.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::{Augment, DataError, Dataset};

/// Settings of a [`Loader`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoaderConfig {
    /// Images per batch.
    pub batch: usize,
    /// Draw a new order each epoch instead of using the data set's order.
    pub shuffle: bool,
    /// Seed of order and augmentation.
    pub seed: u64,
    /// Augmentation.
    pub augment: Augment,
    /// Worker threads; 0 for one per processor.
    pub workers: usize,
    /// Batches prepared beyond those in progress.
    pub prefetch: usize,
    /// Drop a smaller last batch.
    pub drop_last: bool,
}

impl Default for LoaderConfig {
    fn default() -> Self {
        Self {
            batch: 128,
            shuffle: true,
            seed: 0,
            augment: Augment::none(),
            workers: 2,
            prefetch: 4,
            drop_last: false,
        }
    }
}

impl LoaderConfig {
    /// Settings for evaluation: every image once, in order, without augmentation.
    pub fn evaluation(batch: usize) -> Self {
        Self {
            batch,
            shuffle: false,
            ..Self::default()
        }
    }
}

/// Images and classes as a network's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// NCHW, normalised.
    pub images: Vec<f32>,
    /// One class per image.
    pub labels: Vec<i64>,
    /// Images of the whole batch; a [`Loader::slice`] reads a part of them.
    pub whole: usize,
    /// The target values of the samples, one after the other; empty for data without.
    pub targets: Vec<f32>,
    /// Images, channels, height, width.
    pub shape: [usize; 4],
}

/// Produces the batches of a data set, epoch by epoch. Cheap to clone.
#[derive(Clone)]
pub struct Loader {
    dataset: Arc<dyn Dataset>,
    config: LoaderConfig,
    /// Of how many equal parts of every batch this one is made.
    part: (usize, usize),
}

impl Loader {
    /// Checks the configuration against the data set.
    pub fn new(dataset: Arc<dyn Dataset>, config: LoaderConfig) -> Result<Self, DataError> {
        config.augment.check(dataset.input())?;
        if config.batch == 0 {
            return Err(DataError::Option {
                option: "batch",
                reason: "must be at least 1".into(),
            });
        }
        if dataset.image_shape() != dataset.input().shape() {
            return Err(DataError::mismatch(
                &dataset.identity(),
                dataset.image_shape(),
                dataset.input().shape(),
            ));
        }
        let part = (0, 1);
        let loader = Self {
            dataset,
            config,
            part,
        };
        if loader.batches() == 0 {
            let reason = format!(
                "an epoch of {} images has no batch of {}",
                loader.dataset.len(),
                loader.config.batch
            );
            return Err(DataError::Option {
                option: "batch",
                reason,
            });
        }
        Ok(loader)
    }

    /// Reads part `index` of `count` about equal parts of each batch. The parts together are the
    /// whole batch, whatever their number.
    #[must_use]
    pub fn slice(&self, index: usize, count: usize) -> Self {
        Self {
            part: (index, count.max(1)),
            ..self.clone()
        }
    }

    /// The data set.
    pub fn dataset(&self) -> &Arc<dyn Dataset> {
        &self.dataset
    }

    /// The settings.
    pub fn config(&self) -> &LoaderConfig {
        &self.config
    }

    /// Number of batches per epoch.
    pub fn batches(&self) -> usize {
        let (images, batch) = (self.dataset.len(), self.config.batch);
        if self.config.drop_last {
            images / batch
        } else {
            images.div_ceil(batch)
        }
    }

    /// Starts epoch `epoch`; its order depends only on (seed, epoch).
    pub fn epoch(&self, epoch: u64) -> Epoch {
        self.epoch_from(epoch, 0)
    }

    /// As [`Loader::epoch`], from batch `first` on, to resume an interrupted epoch.
    pub fn epoch_from(&self, epoch: u64, first: usize) -> Epoch {
        let mut order: Vec<usize> = (0..self.dataset.len()).collect();
        if self.config.shuffle {
            order.shuffle(&mut keyed(self.config.seed, epoch, u64::MAX));
        }
        let batches = self.batches();
        let workers = match self.config.workers {
            0 => std::thread::available_parallelism().map_or(1, |n| n.get()),
            n => n,
        }
        .min(batches.saturating_sub(first));
        let shared = Arc::new(Shared {
            job: Job {
                loader: self.clone(),
                epoch,
                order,
                batches,
            },
            window: workers + self.config.prefetch,
            queue: Mutex::new(Queue {
                next: first,
                taken: first,
                ready: BTreeMap::new(),
                stop: false,
            }),
            changed: Condvar::new(),
        });
        let threads = (0..workers)
            .map(|_| {
                let shared = shared.clone();
                std::thread::spawn(move || shared.work())
            })
            .collect();
        Epoch { shared, threads }
    }
}

/// Returns a generator with an independent stream for each (seed, epoch, index).
fn keyed(seed: u64, epoch: u64, index: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&epoch.to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

struct Job {
    loader: Loader,
    epoch: u64,
    order: Vec<usize>,
    batches: usize,
}

impl Job {
    fn make(&self, number: usize) -> Result<Batch, DataError> {
        let (dataset, config) = (&*self.loader.dataset, &self.loader.config);
        let start = number * config.batch;
        let whole = &self.order[start..(start + config.batch).min(self.order.len())];
        let (part, parts) = self.loader.part;
        let indices = &whole[whole.len() * part / parts..whole.len() * (part + 1) / parts];
        let [channels, height, width] = dataset.image_shape();
        let size = channels * height * width;
        let mut images = vec![0.0; indices.len() * size];
        let mut labels = Vec::with_capacity(indices.len());
        for (&index, image) in indices.iter().zip(images.chunks_exact_mut(size)) {
            let mut rng = keyed(config.seed, self.epoch, index as u64);
            if config.augment.random_resized_crop {
                dataset.decode_random_crop(index, &mut rng, image)?;
            } else {
                dataset.decode(index, image)?;
            }
            config.augment.apply(image, dataset.input(), &mut rng);
            dataset.input().normalise(image);
            labels.push(dataset.label(index) as i64);
        }
        let size = dataset.target_len();
        let mut targets = vec![0.0; indices.len() * size];
        for (&index, target) in indices.iter().zip(targets.chunks_exact_mut(size.max(1))) {
            dataset.target(index, target)?;
        }
        Ok(Batch {
            images,
            labels,
            whole: whole.len(),
            targets,
            shape: [indices.len(), channels, height, width],
        })
    }
}

struct Queue {
    /// The next batch that a worker starts.
    next: usize,
    /// Number of batches that the consumer has taken.
    taken: usize,
    ready: BTreeMap<usize, Result<Batch, DataError>>,
    stop: bool,
}

struct Shared {
    job: Job,
    /// Most batches that workers start ahead of the consumer, which bounds memory.
    window: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, guard: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        self.changed
            .wait(guard)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let number = {
                let mut queue = self.lock();
                while !queue.stop
                    && queue.next < self.job.batches
                    && queue.next >= queue.taken + self.window
                {
                    queue = self.wait(queue);
                }
                if queue.stop || queue.next >= self.job.batches {
                    return;
                }
                queue.next += 1;
                queue.next - 1
            };
            // A panic of the data set must not leave the consumer waiting forever.
            let made =
                catch_unwind(AssertUnwindSafe(|| self.job.make(number))).unwrap_or_else(|panic| {
                    let reason = panic
                        .downcast_ref::<String>()
                        .cloned()
                        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                        .unwrap_or_else(|| "panic".to_owned());
                    Err(DataError::Worker {
                        epoch: self.job.epoch,
                        batch: number,
                        reason,
                    })
                });
            self.lock().ready.insert(number, made);
            self.changed.notify_all();
        }
    }
}

/// The batches of one epoch. It ends after an error; dropping it stops the workers.
pub struct Epoch {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Epoch {
    fn stop(&self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
    }
}

impl Iterator for Epoch {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut queue = self.shared.lock();
        if queue.stop || queue.taken >= self.shared.job.batches {
            return None;
        }
        loop {
            let number = queue.taken;
            if let Some(batch) = queue.ready.remove(&number) {
                queue.taken += 1;
                drop(queue);
                self.shared.changed.notify_all();
                if batch.is_err() {
                    self.stop();
                }
                return Some(batch);
            }
            queue = self.shared.wait(queue);
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let queue = self.shared.lock();
        let left = if queue.stop {
            0
        } else {
            self.shared.job.batches.saturating_sub(queue.taken)
        };
        (0, Some(left))
    }
}

impl Drop for Epoch {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // Workers catch the data set's panics, and nothing else in them can fail.
            let _ = thread.join();
        }
    }
}
