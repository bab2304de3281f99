//! Training of a single network: fine-tuning with distillation from a teacher, or plain training.

use std::path::Path;
use std::time::Duration;

use channels::Cut;
use collective::Team;
use datasets::Loader;
use onnx_graph::Graph;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use torch_exec::NormMode;

use crate::loss::{DistillConfig, LossWeights};
use crate::network::{Network, Runtime};
use crate::observer::Observer;
use crate::position::{Position, StepResult};
use crate::rounding::Weights;
use crate::sgd::{Sgd, SgdConfig};
use crate::synced::{AcrossTeam, over_all};
use crate::task::Task;
use crate::teacher::{FeaturePair, Teacher, TeacherSetup, mixed_loss, reads_teacher};
use crate::training::{Completion, Schedule, Steps, loader_identity, tensors};
use crate::{TrainError, checkpoint, materialise};

/// Settings of a fine-tuning or plain training. Batch size and augmentation are the loader's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Optimiser and schedule.
    pub sgd: SgdConfig,
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f64,
    /// Distillation from the teacher, if there is one.
    pub distil: DistillConfig,
    /// Weight of the distance from the teacher's values at the end of each resolution, added to
    /// the other losses; see [`Feature`](crate::Feature).
    pub features: f64,
    /// Decay of an exponential moving average of the weights, which becomes the result; 0 turns
    /// it off.
    pub ema: f64,
    /// Share of a batch in BatchNorm's running statistics. With 0 these stay as they are, and
    /// normalise in place of the batch's own.
    pub norm_momentum: f64,
    /// Most seconds between checkpoints; every epoch also ends with one.
    pub checkpoint_seconds: f64,
    /// Whether weights that are 0 stay 0, as those of a sparse network. No setting of a run.
    #[serde(skip)]
    pub keep_zeros: bool,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            epochs: 30,
            sgd: SgdConfig::default(),
            label_smoothing: 0.0,
            distil: DistillConfig::default(),
            features: 100.0,
            ema: 0.0,
            norm_momentum: 0.1,
            checkpoint_seconds: 20.0,
            keep_zeros: false,
        }
    }
}

impl FinetuneConfig {
    fn loss_weights(&self) -> LossWeights {
        LossWeights {
            label_smoothing: self.label_smoothing,
            distil: self.distil,
            features: self.features,
        }
    }
}

/// Inputs of a [`finetune`] or [`train_plain`].
#[derive(Clone, Copy)]
pub struct TrainJob<'a> {
    /// The network, with BatchNorm and the weights to start from.
    pub graph: &'a Graph,
    /// The network before its weights became integers: the training of those begins at these
    /// floats, found by name, and not at their rounded values.
    pub floats: Option<&'a Graph>,
    /// What it is for.
    pub task: &'a dyn Task,
    /// The training data.
    pub loader: &'a Loader,
    /// The settings.
    pub config: &'a FinetuneConfig,
    /// Device, memory order and precision.
    pub runtime: Runtime,
    /// Seed, recorded in the checkpoint; the loader has its own.
    pub seed: u64,
    /// The processes that train together, each on its slice of every batch.
    pub team: Option<&'a Team>,
    /// Checkpoint file, rewritten during the training. If it exists, training resumes from it. Of
    /// several processes the first one has it.
    pub checkpoint: Option<&'a Path>,
    /// What the checkpoint is known by, where another process resumes from it:
    /// [`finetune_identity`] there. Equal networks may number their values differently.
    pub identity: Option<&'a str>,
}

/// A fine-tuning or plain training in progress.
pub struct Tuning<'a> {
    stage: &'static str,
    task: &'a dyn Task,
    device: Device,
    network: Network,
    weights: Weights,
    teacher: Option<Teacher>,
    pairs: Vec<FeaturePair>,
    config: FinetuneConfig,
    sgd: Sgd,
    /// The moving averages, in the order of the optimiser's tensors.
    averages: Vec<Tensor>,
    /// The processes whose batch is normalised as a whole.
    synced: Option<&'a Team>,
}

impl<'a> Tuning<'a> {
    /// Creates a training of `graph` (with BatchNorm), with distillation from `teacher` if there
    /// is one. It begins at the graph's own weights.
    ///
    /// # Errors
    /// [`TrainError::NoLayers`] if the graph has nothing to train; errors of compiling the
    /// graphs.
    pub fn new(
        stage: &'static str,
        (graph, task): (&Graph, &'a dyn Task),
        teacher: Option<TeacherSetup<'_>>,
        config: &FinetuneConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let network = Network::for_task(graph, task, runtime.options)?;
        let weights = Weights::new(graph, runtime, config.keep_zeros)?;
        let trained = weights.trained(graph);
        if trained.is_empty() {
            return Err(TrainError::NoLayers {
                network: graph.name.clone(),
            });
        }
        let averages = if config.ema > 0.0 {
            trained.iter().map(|t| t.tensor.detach().copy()).collect()
        } else {
            vec![]
        };
        let losses = config.loss_weights();
        let pairs = match teacher {
            Some(teacher) if losses.features > 0.0 => {
                FeaturePair::resolve(graph, teacher.graph, teacher.features)
            }
            _ => Vec::new(),
        };
        let teacher = teacher.filter(|_| reads_teacher(task, losses));
        let teacher = teacher.map(|of| Teacher::new(of.graph, task, runtime));
        let teacher = teacher.transpose()?;
        Ok(Self {
            stage,
            task,
            device: runtime.device,
            network,
            weights,
            teacher,
            pairs,
            config: config.clone(),
            sgd: Sgd::new(trained),
            averages,
            synced: None,
        })
    }

    /// Begins at the weights of `floats` where `graph`, the network that is trained, has integers.
    fn start_at(&self, graph: &Graph, floats: &Graph) -> Result<(), TrainError> {
        self.weights.start_at(graph, floats)?;
        let _guard = tch::no_grad_guard();
        for (average, trained) in self.averages.iter().zip(self.sgd.trained()) {
            average.shallow_clone().f_copy_(&trained.tensor)?;
        }
        Ok(())
    }

    /// Runs one step outside of a training, on images `[N, C, H, W]` and labels `[N]` at learning
    /// rate `lr`, and returns the loss.
    ///
    /// # Errors
    /// As [`finetune`].
    pub fn train_batch(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        lr: f64,
    ) -> Result<f64, TrainError> {
        let sgd = self.config.sgd.clone();
        let result = Steps::train_batch(
            self,
            (images, labels),
            Position::default(),
            (&sgd, lr),
            None,
        )?;
        Ok(result.loss)
    }

    /// Writes the result into `graph`: the trained weights or, with a moving average, the
    /// averages and statistics re-estimated on batches of `loader`.
    fn write_back(
        &self,
        graph: &mut Graph,
        loader: &Loader,
        runtime: Runtime,
    ) -> Result<(), TrainError> {
        if self.averages.is_empty() {
            return self.weights.write_back(graph);
        }
        {
            let _guard = tch::no_grad_guard();
            for (average, trained) in self.averages.iter().zip(self.sgd.trained()) {
                trained.tensor.shallow_clone().f_copy_(average)?;
            }
        }
        self.weights.write_back(graph)?;
        if self.config.norm_momentum == 0.0 {
            return Ok(());
        }
        // The running statistics belong to the last weights, not to their average.
        let mut batches = Vec::new();
        for batch in loader.epoch(0).take(20) {
            batches.push(tensors(&batch?, self.device)?.0);
        }
        materialise::recalibrate(graph, &Cut::default(), &batches.into(), runtime)
    }
}

impl Steps for Tuning<'_> {
    fn stage(&self) -> &'static str {
        self.stage
    }

    fn step(&mut self, images: &Tensor, labels: &Tensor, _: u64) -> Result<StepResult, TrainError> {
        let sums = self.synced.map(|team| AcrossTeam::new(team, images));
        let mode = match self.config.norm_momentum {
            0.0 => NormMode::Running,
            momentum => over_all(sums.as_ref(), NormMode::Update { momentum }),
        };
        let (student_taps, teacher_taps): (Vec<_>, Vec<_>) =
            self.pairs.iter().map(|p| (p.student, p.teacher)).unzip();
        let own = self
            .network
            .outputs(images, &self.weights, None, mode, &student_taps)?;
        let target = self
            .teacher
            .as_ref()
            .map(|t| t.outputs(images, &teacher_taps))
            .transpose()?;
        let weights = self.config.loss_weights();
        let both = (&own, target.as_ref());
        let loss = mixed_loss(self.task, both, labels, &self.pairs, weights)?;
        self.sgd.backward(&loss)?;
        let _guard = tch::no_grad_guard();
        let mut tally = self.task.tally();
        // A teacher's divergence is of no use here.
        let original = target.as_ref().filter(|_| self.task.follows_original());
        tally.add(&own.heads, labels, original.map(|of| &of.heads[..]))?;
        Ok(StepResult {
            loss: loss.f_double_value(&[])?,
            score: tally.score().value,
        })
    }

    fn sgd(&mut self) -> &mut Sgd {
        &mut self.sgd
    }

    fn is_synced(&self) -> bool {
        self.synced.is_some()
    }

    fn updated(&mut self, step: u64) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        // A smaller decay at the start, so that the average forgets the initial weights.
        let decay = self
            .config
            .ema
            .min((1.0 + step as f64) / (10.0 + step as f64));
        for (average, trained) in self.averages.iter_mut().zip(self.sgd.trained()) {
            let _ = average.f_lerp_(&trained.tensor, 1.0 - decay)?;
        }
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut out = self.weights.named(self.network.graph());
        let named = self.averages.iter().zip(self.sgd.trained());
        out.extend(named.map(|(a, t)| (format!("average/{}", t.name), a.shallow_clone())));
        out
    }

    fn statistics(&self) -> Vec<(String, Tensor)> {
        let trained = self.sgd.trained();
        let mut out = self.weights.params().named();
        out.retain(|(name, _)| trained.iter().all(|of| &of.name != name));
        out
    }

    fn blame(&self, images: &Tensor, _: u64) -> String {
        self.network
            .first_non_finite_layer(images, &self.weights, None)
            .unwrap_or_else(|| "the loss".into())
    }
}

/// Fine-tunes a network, with distillation from `teacher` if there is one, and returns it with
/// the trained weights and running statistics. Weights that the network stores as integers are
/// trained with their rounding, and what is returned stores the integers that were trained.
///
/// # Errors
/// As [`crate::train_joint`].
pub fn finetune(
    job: &TrainJob<'_>,
    teacher: Option<TeacherSetup<'_>>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    tune("fine-tuning", job, teacher, observer)
}

/// Trains a network without a teacher; see [`finetune`] and [`crate::initialise`].
///
/// # Errors
/// As [`finetune`].
pub fn train_plain(
    job: &TrainJob<'_>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    tune("training", job, None, observer)
}

fn tune(
    stage: &'static str,
    job: &TrainJob<'_>,
    teacher: Option<TeacherSetup<'_>>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    let TrainJob {
        graph,
        task: purpose,
        loader,
        config,
        runtime,
        team,
        ..
    } = *job;
    purpose.check(graph, loader.dataset().as_ref())?;
    let mut task = Tuning::new(stage, (graph, purpose), teacher, config, runtime)?;
    task.synced = team.filter(|_| runtime.sync_norms);
    if let Some(floats) = job.floats {
        task.start_at(graph, floats)?;
    }
    let schedule = Schedule {
        loader,
        team,
        epochs: config.epochs,
        sgd: &config.sgd,
        seed: job.seed,
        device: runtime.device,
        checkpoint: job.checkpoint,
        checkpoint_every: Duration::from_secs_f64(config.checkpoint_seconds.max(0.0)),
        fingerprint: match job.identity {
            Some(identity) => identity.to_owned(),
            None => finetune_identity(job, teacher),
        },
        kind: stage,
    };
    let mut position = schedule.resume(&mut task)?;
    let end = schedule.run(&mut task, &mut position, observer)?;
    let mut out = graph.clone();
    task.write_back(&mut out, loader, runtime)?;
    Ok((out, end))
}

/// What the checkpoint of a fine-tuning is known by: a hash of all that it must have in common with
/// the training that resumes from it.
#[must_use]
pub fn finetune_identity(job: &TrainJob<'_>, teacher: Option<TeacherSetup<'_>>) -> String {
    let mut begins = materialise::graph_fingerprint(job.graph);
    if let Some(floats) = job.floats {
        begins += &materialise::graph_fingerprint(floats);
    }
    let teacher = teacher.filter(|_| reads_teacher(job.task, job.config.loss_weights()));
    let identity = (
        begins,
        teacher.map(|of| materialise::graph_fingerprint(of.graph)),
        job.config,
        job.seed,
        loader_identity(job.loader),
    );
    checkpoint::fingerprint(&identity)
}
