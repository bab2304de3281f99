//! Training one network with real weights: fine-tuning with distillation from a teacher, or plain training.

use std::path::Path;
use std::time::Duration;

use channels::Cut;
use datasets::Loader;
use onnx_graph::Graph;
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor};
use torch_exec::{NormMode, Params, accuracy};

use crate::network::{Network, Runtime};
use crate::observer::Observer;
use crate::sgd::{Sgd, SgdConfig, Trained};
use crate::teacher::{DistillConfig, Followed, Shares, Teacher, TeacherSetup, mixed_loss};
use crate::training::{Completion, Done, Plan, Position, Task, loader_identity, tensors};
use crate::{TrainError, checkpoint, materialise};

/// Settings of a fine-tuning or of a plain training. The batch size and the augmentation are the loader's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Optimiser and schedule.
    pub sgd: SgdConfig,
    /// Label smoothing of the cross-entropy.
    pub label_smoothing: f64,
    /// How much is learnt from the teacher, if there is one.
    pub distil: DistillConfig,
    /// Weight, beside both, of the distance from the teacher's values at the end of each resolution; see
    /// [`Feature`](crate::Feature).
    pub features: f64,
    /// Decay of an exponential moving average of the weights, which then is the result; 0 turns it off.
    pub ema: f64,
    /// Share of a batch in BatchNorm's running statistics.
    pub norm_momentum: f64,
    /// Most seconds between checkpoints; one is also written after every epoch.
    pub checkpoint_seconds: f64,
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
        }
    }
}

impl FinetuneConfig {
    fn shares(&self) -> Shares {
        Shares {
            distil: self.distil,
            features: self.features,
        }
    }
}

/// A fine-tuning or plain training under way.
pub struct Tuning {
    stage: &'static str,
    device: Device,
    network: Network,
    params: Params,
    teacher: Option<Teacher>,
    followed: Vec<Followed>,
    config: FinetuneConfig,
    sgd: Sgd,
    /// The moving averages, in the order of the optimiser's tensors.
    averages: Vec<Tensor>,
}

impl Tuning {
    /// A training of `graph` (BatchNorm kept) at its first step, with distillation from `teacher` if there is one.
    ///
    /// # Errors
    /// [`TrainError::NoLayers`] when the graph has nothing to train, and what compiling the graphs gives.
    pub fn new(
        stage: &'static str,
        graph: &Graph,
        teacher: Option<TeacherSetup<'_>>,
        config: &FinetuneConfig,
        runtime: Runtime,
    ) -> Result<Self, TrainError> {
        let network = Network::new(graph, runtime.options)?;
        let params = Params::with_options(graph, runtime.device, &runtime.options)?;
        let trained: Vec<Trained> = params
            .trainable(graph)
            .into_iter()
            .map(|(_, name, tensor)| Trained {
                name,
                decay: tensor.dim() > 1,
                tensor,
            })
            .collect();
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
        let shares = config.shares();
        let followed = match teacher {
            Some(teacher) if shares.features > 0.0 => {
                Followed::find(graph, teacher.graph, teacher.features)
            }
            _ => Vec::new(),
        };
        let teacher = Teacher::new(teacher.map(|t| t.graph), shares, runtime)?;
        Ok(Self {
            stage,
            device: runtime.device,
            network,
            params,
            teacher,
            followed,
            config: config.clone(),
            sgd: Sgd::new(trained),
            averages,
        })
    }

    /// One step outside of a training, on images `[N, C, H, W]` and labels `[N]` at learning rate `lr`; returns the loss.
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
        let done = Task::train_batch(self, (images, labels), Position::default(), &sgd, lr)?;
        Ok(done.loss)
    }
}

impl Task for Tuning {
    fn stage(&self) -> &'static str {
        self.stage
    }

    fn step(&mut self, images: &Tensor, labels: &Tensor, _: u64) -> Result<Done, TrainError> {
        let mode = NormMode::Update {
            momentum: self.config.norm_momentum,
        };
        let (own_taps, taught_taps): (Vec<_>, Vec<_>) =
            self.followed.iter().map(|f| (f.student, f.teacher)).unzip();
        let own = self
            .network
            .outputs(images, &self.params, None, mode, &own_taps)?;
        let taught = self
            .teacher
            .as_ref()
            .map(|t| t.outputs(images, &taught_taps))
            .transpose()?;
        let loss = mixed_loss(
            &own,
            labels,
            self.config.label_smoothing,
            taught.as_ref(),
            &self.followed,
            self.config.shares(),
        )?;
        self.sgd.backward(&loss)?;
        Ok(Done {
            loss: loss.f_double_value(&[])?,
            correct: accuracy(&own.logits.detach(), labels)?,
        })
    }

    fn sgd(&mut self) -> &mut Sgd {
        &mut self.sgd
    }

    fn updated(&mut self, step: u64) -> Result<(), TrainError> {
        let _guard = tch::no_grad_guard();
        // Early on the average follows closely, or it would remember the start for ever.
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
        let mut out = self.params.named();
        let named = self.averages.iter().zip(self.sgd.trained());
        out.extend(named.map(|(a, t)| (format!("average/{}", t.name), a.shallow_clone())));
        out
    }

    fn blame(&self, images: &Tensor, _: u64) -> String {
        self.network
            .first_bad_layer(images, &self.params, None)
            .unwrap_or_else(|| "the loss".into())
    }
}

/// Trains `graph` (BatchNorm kept) on `loader`, with distillation from `teacher` if there is one, and returns it with the
/// trained weights and running statistics. When `checkpoint` names a file that exists, training goes on from there.
///
/// # Errors
/// As [`crate::train_joint`].
#[allow(
    clippy::too_many_arguments,
    reason = "each is a different kind of thing, and all are needed"
)]
pub fn finetune(
    graph: &Graph,
    teacher: Option<TeacherSetup<'_>>,
    loader: &Loader,
    config: &FinetuneConfig,
    runtime: Runtime,
    seed: u64,
    checkpoint: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    tune(
        "fine-tuning",
        graph,
        teacher,
        loader,
        config,
        runtime,
        seed,
        checkpoint,
        observer,
    )
}

/// Trains `graph` from the weights it holds, without a teacher; see [`finetune`] and [`crate::initialise`].
///
/// # Errors
/// As [`finetune`].
pub fn train_plain(
    graph: &Graph,
    loader: &Loader,
    config: &FinetuneConfig,
    runtime: Runtime,
    seed: u64,
    checkpoint: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    tune(
        "training", graph, None, loader, config, runtime, seed, checkpoint, observer,
    )
}

#[allow(clippy::too_many_arguments, reason = "as finetune")]
fn tune(
    stage: &'static str,
    graph: &Graph,
    teacher: Option<TeacherSetup<'_>>,
    loader: &Loader,
    config: &FinetuneConfig,
    runtime: Runtime,
    seed: u64,
    checkpoint: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<(Graph, Completion), TrainError> {
    let mut task = Tuning::new(stage, graph, teacher, config, runtime)?;
    task.network
        .check_classes(loader.dataset().classes().len())?;
    let parts = (
        materialise::graph_fingerprint(graph),
        teacher
            .filter(|_| task.teacher.is_some())
            .map(|t| materialise::graph_fingerprint(t.graph)),
        config,
        seed,
        loader_identity(loader),
    );
    let plan = Plan {
        loader,
        epochs: config.epochs,
        sgd: &config.sgd,
        seed,
        device: runtime.device,
        checkpoint,
        checkpoint_every: Duration::from_secs_f64(config.checkpoint_seconds.max(0.0)),
        fingerprint: checkpoint::fingerprint(&parts),
        kind: stage,
    };
    let mut position = plan.resume(&mut task)?;
    let end = plan.run(&mut task, &mut position, observer)?;
    let mut out = graph.clone();
    if task.averages.is_empty() {
        task.params.write_back(&mut out)?;
        return Ok((out, end));
    }
    {
        let _guard = tch::no_grad_guard();
        for (average, trained) in task.averages.iter().zip(task.sgd.trained()) {
            trained.tensor.shallow_clone().f_copy_(average)?;
        }
    }
    task.params.write_back(&mut out)?;
    // The running statistics belong to the last weights, not to their average.
    let mut batches = Vec::new();
    for batch in loader.epoch(0).take(20) {
        batches.push(tensors(&batch?, task.device)?.0);
    }
    materialise::recalibrate(&mut out, &Cut::default(), &batches.into(), runtime)?;
    Ok((out, end))
}
