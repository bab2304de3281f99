//! Joint training: a Graph PruningNet learns to generate the weights of all width configurations.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use channels::{Analysis, Cut, GroupId, cut};
use collective::Team;
use datasets::Loader;
use onnx_graph::ValueId;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_exec::{NormMode, Stages, distillation};

use crate::config::{PruningNetConfig, Start};
use crate::draw::DrawConfig;
use crate::features::{StageEnd, kept, select, stage_ends};
use crate::loss::{DistillConfig, LossWeights};
use crate::network::{Network, Outputs, Runtime};
use crate::observer::Observer;
use crate::position::{Position, StepResult};
use crate::prunable::Prunable;
use crate::pruning_net::PruningNet;
use crate::sgd::{Sgd, SgdConfig};
use crate::synced::{AcrossTeam, over_all};
use crate::task::{Classification, Task as _};
use crate::teacher::{FeaturePair, Teacher, mixed_loss, reads_teacher};
use crate::training::{Completion, Schedule, Steps, loader_identity, share_correct};
use crate::{TrainError, checkpoint, materialise};

/// Settings of the joint training. Batch size and augmentation are the loader's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JointConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Optimiser and schedule.
    pub sgd: SgdConfig,
    /// Peak learning rate of a warm start, in place of `sgd.lr`, which would destroy trained
    /// weights.
    pub warm_lr: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Distillation from the original network in a warm start.
    pub distil: DistillConfig,
    /// Weight of the distance from that network's values at the end of each resolution, added to
    /// the other losses; see [`Feature`](crate::Feature).
    pub features: f64,
    /// Sandwich rule: train the full, the smallest and a random network on every batch instead of
    /// one random network. The latter two learn from the first, or all three from the original
    /// network. Takes about twice the time.
    pub sandwich: bool,
    /// Stage-wise training (arXiv 2011.04908): each resolution reads the values of the given
    /// network at its beginning, on the channels that are kept, and follows its values at the end.
    /// So a stage does not depend on the widths of those before it. Needs a warm start.
    pub stagewise: bool,
    /// Share of the batches that train the full network instead of a random one. Ignored under
    /// the sandwich rule.
    pub full_share: f64,
    /// Distribution of random networks.
    pub draw: DrawConfig,
    /// Most seconds between checkpoints; every epoch also ends with one.
    pub checkpoint_seconds: f64,
}

impl Default for JointConfig {
    fn default() -> Self {
        Self {
            epochs: 20,
            sgd: SgdConfig::default(),
            warm_lr: 0.01,
            label_smoothing: 0.1,
            distil: DistillConfig::default(),
            features: 3.0,
            sandwich: false,
            stagewise: false,
            full_share: 0.0,
            draw: DrawConfig::default(),
            checkpoint_seconds: 20.0,
        }
    }
}

impl JointConfig {
    fn loss_weights(&self) -> LossWeights {
        LossWeights {
            label_smoothing: self.label_smoothing,
            distil: self.distil,
            features: self.features,
        }
    }
}

/// Inputs of a joint training.
#[derive(Debug, Clone)]
pub struct JointSetup<'a> {
    /// The network.
    pub prunable: Prunable<'a>,
    /// Per group the admissible kept counts, ascending.
    pub widths: &'a [Vec<usize>],
    /// The Graph PruningNet's settings.
    pub net: &'a PruningNetConfig,
    /// The training's settings.
    pub config: &'a JointConfig,
    /// Device, memory order and precision.
    pub runtime: Runtime,
    /// Seed of initialisation and width draws.
    pub seed: u64,
}

impl JointSetup<'_> {
    fn check(&self) -> Result<(), TrainError> {
        self.config.draw.check()?;
        if self.config.stagewise && self.net.start != Start::Warm {
            return Err(TrainError::NothingToFollow);
        }
        let groups = self.prunable.analysis.groups();
        let bad = |reason: String| Err(TrainError::Widths { reason });
        if self.prunable.order.len() != groups.len() || self.widths.len() != groups.len() {
            let (orders, grids) = (self.prunable.order.len(), self.widths.len());
            return bad(format!(
                "{orders} orders and {grids} grids for {} groups",
                groups.len()
            ));
        }
        for (g, (group, grid)) in groups.iter().zip(self.widths).enumerate() {
            let least = usize::from(self.prunable.analysis.removal(GroupId(g)).is_none());
            if grid.is_empty() || grid.iter().any(|&w| w < least || w > group.channels) {
                return bad(format!(
                    "group '{}' of {} channels has grid {grid:?}",
                    group.name, group.channels
                ));
            }
        }
        Ok(())
    }
}

/// A joint training in progress.
pub struct JointState {
    net: PruningNet,
    network: Network,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    widths: Vec<Vec<usize>>,
    config: JointConfig,
    runtime: Runtime,
    seed: u64,
    sgd: Sgd,
    teacher: Option<Teacher>,
    /// Values of the teacher that a pruned network follows.
    ends: Vec<StageEnd>,
    position: Position,
    fingerprint: String,
    team: Option<Rc<Team>>,
}

impl JointState {
    /// Creates a joint training at its first step.
    ///
    /// # Errors
    /// [`TrainError::Widths`] if the order or the admissible widths do not fit the groups,
    /// [`TrainError::NoLayers`], and errors of compiling the graph.
    pub fn new(setup: &JointSetup<'_>) -> Result<Self, TrainError> {
        setup.check()?;
        let Prunable {
            graph,
            analysis,
            order,
        } = setup.prunable;
        let net = PruningNet::new(graph, analysis, setup.net, setup.runtime.device, setup.seed)?;
        let sgd = Sgd::new(net.trained());
        let network = Network::new(graph, setup.runtime.options)?;
        let mut config = setup.config.clone();
        let mut teacher = None;
        if setup.net.start == Start::Warm {
            config.sgd.lr = config.warm_lr;
            // The stages read it even if no loss does.
            if config.stagewise || reads_teacher(&Classification, config.loss_weights()) {
                teacher = Some(Teacher::new(graph, &Classification, setup.runtime)?);
            }
        }
        let identity = (
            materialise::graph_fingerprint(graph),
            order,
            setup.widths,
            setup.net,
            setup.config,
            setup.seed,
        );
        Ok(Self {
            net,
            network,
            analysis: analysis.clone(),
            order: order.to_vec(),
            widths: setup.widths.to_vec(),
            ends: match &teacher {
                Some(_) if config.features > 0.0 || config.stagewise => stage_ends(graph, analysis),
                _ => Vec::new(),
            },
            config,
            runtime: setup.runtime,
            seed: setup.seed,
            sgd,
            teacher,
            position: Position::default(),
            fingerprint: checkpoint::fingerprint(&identity),
            team: None,
        })
    }

    /// Trains together with the other processes of `team`, each on its slice of every batch. All
    /// have the same setup; the first one has the checkpoint.
    #[must_use]
    pub fn with_team(self, team: Option<Rc<Team>>) -> Self {
        Self { team, ..self }
    }

    /// The Graph PruningNet in its current state.
    #[must_use]
    pub fn net(&self) -> &PruningNet {
        &self.net
    }

    /// Progress of the training.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Runs one step outside of a training, on images `[N, C, H, W]` and labels `[N]` at learning
    /// rate `lr`, and returns the loss.
    ///
    /// # Errors
    /// As [`train_joint`].
    pub fn train_batch(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        lr: f64,
    ) -> Result<f64, TrainError> {
        let sgd = self.config.sgd.clone();
        let result = Steps::train_batch(self, (images, labels), self.position, (&sgd, lr), None)?;
        self.position.step += 1;
        Ok(result.loss)
    }

    /// Returns the width configurations of `step`. They depend only on the seed and the step, so
    /// a resumed training draws the same ones as an uninterrupted one.
    #[must_use]
    pub fn draws(&self, step: u64) -> Vec<Vec<usize>> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(step.wrapping_add(2));
        let full = || {
            self.analysis
                .groups()
                .iter()
                .map(|g| g.channels)
                .collect::<Vec<_>>()
        };
        let random = |rng: &mut ChaCha8Rng| self.config.draw.draw(&self.widths, rng);
        if self.config.sandwich {
            let smallest = self
                .widths
                .iter()
                .filter_map(|g| g.iter().copied().min())
                .collect();
            return vec![full(), smallest, random(&mut rng)];
        }
        if rng.random::<f64>() < self.config.full_share {
            return vec![full()];
        }
        vec![random(&mut rng)]
    }

    /// Returns the cut for `widths` (`None` at full width) and the features that the pruned
    /// network follows.
    fn cut(&self, widths: &[usize]) -> Result<(Option<Cut>, Vec<FeaturePair>), TrainError> {
        let prunable = Prunable {
            graph: self.network.graph(),
            analysis: &self.analysis,
            order: &self.order,
        };
        let plan = prunable.plan(widths)?;
        let cut = cut(prunable.graph, prunable.analysis, &plan)?;
        let kept = kept(&self.ends, &self.analysis, &plan, &cut).into_iter();
        let pairs = kept.map(|(end, keep)| FeaturePair {
            student: end.value,
            teacher: end.value,
            keep,
        });
        let mut groups = self.analysis.groups().iter().zip(widths);
        let full = groups.all(|(g, &w)| g.channels == w);
        Ok(((!full).then_some(cut), pairs.collect()))
    }
}

impl Steps for JointState {
    fn stage(&self) -> &'static str {
        "joint training"
    }

    fn step(
        &mut self,
        images: &Tensor,
        labels: &Tensor,
        step: u64,
    ) -> Result<StepResult, TrainError> {
        let ends: Vec<ValueId> = self.ends.iter().map(|e| e.value).collect();
        let target = self
            .teacher
            .as_ref()
            .map(|t| t.outputs(images, &ends))
            .transpose()?;
        let weights = self.config.loss_weights();
        let team = self.team.as_deref().filter(|_| self.runtime.sync_norms);
        let sums = team.map(|team| AcrossTeam::new(team, images));
        let mut first: Option<(Tensor, StepResult)> = None;
        for widths in self.draws(step) {
            let (cut, pairs) = self.cut(&widths)?;
            let bound = self.net.bind(&widths, cut.as_ref())?;
            let taps: Vec<ValueId> = pairs.iter().map(|p| p.student).collect();
            let inputs = match &target {
                Some(target) if self.config.stagewise => stage_inputs(&pairs, target)?,
                _ => Vec::new(),
            };
            let stages = Stages {
                weights: &bound,
                cut: cut.as_ref(),
                mode: over_all(sums.as_ref(), NormMode::Batch),
                inputs: &inputs,
            };
            let own = self.network.outputs_in_stages(images, stages, &taps)?;
            let loss = match (&first, &target) {
                // Without a teacher the smaller networks learn from the largest one.
                (Some((largest, _)), None) => distillation(&own.logits()?, largest, 1.0)?,
                (_, target) => {
                    let both = (&own, target.as_ref());
                    mixed_loss(&Classification, both, labels, &pairs, weights)?
                }
            };
            let logits = own.logits()?;
            self.sgd.backward(&loss)?;
            let value = loss.f_double_value(&[])?;
            match &mut first {
                None => {
                    let result = StepResult {
                        loss: value,
                        score: share_correct(&logits.detach(), labels)?,
                    };
                    first = Some((logits.detach(), result));
                }
                // Only the first network's loss is reported, unless another one is not finite.
                Some((_, result)) if !value.is_finite() => result.loss = value,
                Some(_) => {}
            }
        }
        let nothing = StepResult {
            loss: 0.0,
            score: 0.0,
        };
        Ok(first.map_or(nothing, |(_, result)| result))
    }

    fn sgd(&mut self) -> &mut Sgd {
        &mut self.sgd
    }

    fn is_synced(&self) -> bool {
        self.runtime.sync_norms && self.team.is_some()
    }

    fn updated(&mut self, _: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        self.net.tensors()
    }

    fn blame(&self, images: &Tensor, step: u64) -> String {
        let _guard = tch::no_grad_guard();
        for widths in self.draws(step) {
            let Ok((cut, _)) = self.cut(&widths) else {
                continue;
            };
            let Ok(bound) = self.net.bind(&widths, cut.as_ref()) else {
                continue;
            };
            if let Some(layer) = self
                .network
                .first_non_finite_layer(images, &bound, cut.as_ref())
            {
                return layer;
            }
        }
        "the loss".into()
    }
}

/// The teacher's values at the ends of stages, on the channels that the student keeps.
fn stage_inputs(
    pairs: &[FeaturePair],
    teacher: &Outputs,
) -> Result<Vec<(ValueId, Tensor)>, TrainError> {
    let input = |pair: &FeaturePair| {
        let value = teacher.tap(pair.teacher)?;
        Some(select(value, pair.keep.as_deref()).map(|value| (pair.student, value)))
    };
    pairs.iter().filter_map(input).collect()
}

/// Trains `state` to the end, or until `observer` stops it. If the file `checkpoint` exists,
/// training resumes from it. It is rewritten every [`JointConfig::checkpoint_seconds`], after
/// every epoch and on stopping.
///
/// # Errors
/// [`TrainError::NonFinite`] as soon as a loss, gradient or weight is not finite (the last good
/// checkpoint stays), [`TrainError::Checkpoint`] if the file belongs to another training,
/// [`TrainError::Io`] if it cannot be written, [`TrainError::Data`] if an image cannot be read.
pub fn train_joint(
    state: &mut JointState,
    loader: &Loader,
    checkpoint: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Completion, TrainError> {
    Classification.check(state.network.graph(), loader.dataset().as_ref())?;
    let config = state.config.clone();
    let team = state.team.clone();
    let fingerprint = checkpoint::fingerprint(&(&state.fingerprint, loader_identity(loader)));
    let schedule = Schedule {
        loader,
        team: team.as_deref(),
        epochs: config.epochs,
        sgd: &config.sgd,
        seed: state.seed,
        device: state.runtime.device,
        checkpoint,
        checkpoint_every: Duration::from_secs_f64(config.checkpoint_seconds.max(0.0)),
        fingerprint,
        kind: "joint",
    };
    let mut position = schedule.resume(state)?.max(state.position);
    let end = schedule.run(state, &mut position, observer);
    state.position = position;
    end
}
