//! Joint training: one Graph PruningNet learns to generate good weights for all width configurations at once.

use std::path::Path;
use std::time::Duration;

use channels::{Analysis, Cut, GroupId, PrunePlan, cut};
use datasets::Loader;
use onnx_graph::{Graph, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_exec::{NormMode, accuracy, distillation};

use crate::draw::DrawConfig;
use crate::features::{StageEnd, kept, stage_ends};
use crate::network::{Network, Runtime};
use crate::observer::Observer;
use crate::pruning_net::{PruningNet, PruningNetConfig, Start};
use crate::sgd::{Sgd, SgdConfig};
use crate::teacher::{DistillConfig, Followed, Shares, Teacher, mixed_loss};
use crate::training::{Completion, Done, Plan, Position, Task, loader_identity};
use crate::{TrainError, checkpoint, materialise};

/// Settings of the joint training. The batch size and the augmentation are the loader's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct JointConfig {
    /// Passes over the training data.
    pub epochs: usize,
    /// Optimiser and schedule.
    pub sgd: SgdConfig,
    /// Peak learning rate in place of `sgd.lr` when the weights start at trained ones: a high one would first destroy
    /// them.
    pub warm_lr: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// How much is learnt from the network as it was given, when the weights start at trained ones.
    pub distil: DistillConfig,
    /// Weight, beside both, of the distance from that network's values at the end of each resolution; see
    /// [`Feature`](crate::Feature).
    pub features: f64,
    /// Train the full, the smallest and a random network on every batch instead of one random network; the latter two
    /// are distilled from the first, or all three from the network as it was given. Costs about twice the time.
    pub sandwich: bool,
    /// Share of the batches that train the full network instead of a random one (without the sandwich rule).
    pub full_share: f64,
    /// How random networks are drawn.
    pub draw: DrawConfig,
    /// Most seconds between checkpoints; one is also written after every epoch.
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
            full_share: 0.0,
            draw: DrawConfig::default(),
            checkpoint_seconds: 20.0,
        }
    }
}

impl JointConfig {
    fn shares(&self) -> Shares {
        Shares {
            distil: self.distil,
            features: self.features,
        }
    }
}

/// What a joint training starts from.
#[derive(Debug, Clone)]
pub struct JointSetup<'a> {
    /// The network, with BatchNorm.
    pub graph: &'a Graph,
    /// Its analysis.
    pub analysis: &'a Analysis,
    /// Per group its units, the most important first.
    pub order: &'a [Vec<usize>],
    /// Per group the admissible kept counts, ascending.
    pub widths: &'a [Vec<usize>],
    /// The Graph PruningNet's settings.
    pub net: &'a PruningNetConfig,
    /// The training's settings.
    pub config: &'a JointConfig,
    /// Where and how to run.
    pub runtime: Runtime,
    /// Seed of initialisation and width draws.
    pub seed: u64,
}

/// A joint training under way.
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
    /// Where a pruned network follows the teacher inside.
    ends: Vec<StageEnd>,
    position: Position,
    fingerprint: String,
}

impl JointState {
    /// A joint training at its first step.
    ///
    /// # Errors
    /// [`TrainError::Widths`] when the order or the admissible widths do not fit the groups, [`TrainError::NoLayers`],
    /// and what compiling the graph gives.
    pub fn new(setup: &JointSetup<'_>) -> Result<Self, TrainError> {
        setup.config.draw.check()?;
        let groups = setup.analysis.groups();
        let bad = |reason: String| Err(TrainError::Widths { reason });
        if setup.order.len() != groups.len() || setup.widths.len() != groups.len() {
            let (orders, grids) = (setup.order.len(), setup.widths.len());
            return bad(format!(
                "{orders} orders and {grids} grids for {} groups",
                groups.len()
            ));
        }
        for (g, (group, grid)) in groups.iter().zip(setup.widths).enumerate() {
            let least = usize::from(setup.analysis.removal(GroupId(g)).is_none());
            if grid.is_empty() || grid.iter().any(|&w| w < least || w > group.channels) {
                return bad(format!(
                    "group '{}' of {} channels has grid {grid:?}",
                    group.name, group.channels
                ));
            }
        }
        let net = PruningNet::new(
            setup.graph,
            setup.analysis,
            setup.net,
            setup.runtime.device,
            setup.seed,
        )?;
        let sgd = Sgd::new(net.trained());
        let network = Network::new(setup.graph, setup.runtime.options)?;
        let mut config = setup.config.clone();
        let mut teacher = None;
        if setup.net.start == Start::Warm {
            config.sgd.lr = config.warm_lr;
            teacher = Teacher::new(Some(setup.graph), config.shares(), setup.runtime)?;
        }
        let graph = materialise::graph_fingerprint(setup.graph);
        let all = (
            graph,
            setup.order,
            setup.widths,
            setup.net,
            setup.config,
            setup.seed,
        );
        Ok(Self {
            net,
            network,
            analysis: setup.analysis.clone(),
            order: setup.order.to_vec(),
            widths: setup.widths.to_vec(),
            ends: match &teacher {
                Some(_) if config.features > 0.0 => stage_ends(setup.graph, setup.analysis),
                _ => Vec::new(),
            },
            config,
            runtime: setup.runtime,
            seed: setup.seed,
            sgd,
            teacher,
            position: Position::default(),
            fingerprint: checkpoint::fingerprint(&all),
        })
    }

    /// The Graph PruningNet as trained so far.
    #[must_use]
    pub fn net(&self) -> &PruningNet {
        &self.net
    }

    /// The Graph PruningNet, once training is over.
    #[must_use]
    pub fn into_net(self) -> PruningNet {
        self.net
    }

    /// Where the training stands.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// One step outside of a training, on images `[N, C, H, W]` and labels `[N]` at learning rate `lr`; returns the loss.
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
        let done = Task::train_batch(self, (images, labels), self.position, &sgd, lr)?;
        self.position.step += 1;
        Ok(done.loss)
    }

    /// The width configurations of `step`: a function of the seed and the step only, so that a resumed training draws
    /// what an uninterrupted one would have drawn.
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

    /// The cut for `widths` (`None` when nothing is cut), and what of the teacher the network so cut follows.
    fn cut(&self, widths: &[usize]) -> Result<(Option<Cut>, Vec<Followed>), TrainError> {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths)?;
        let cut = cut(self.network.graph(), &self.analysis, &plan)?;
        let kept = kept(&self.ends, &self.analysis, &plan, &cut).into_iter();
        let followed = kept.map(|(end, keep)| Followed {
            student: end.value,
            teacher: end.value,
            keep,
        });
        let followed = followed.collect();
        let full = self.analysis.groups().iter().zip(widths);
        let full = full.into_iter().all(|(g, &w)| g.channels == w);
        Ok(((!full).then_some(cut), followed))
    }
}

impl Task for JointState {
    fn stage(&self) -> &'static str {
        "joint training"
    }

    fn step(&mut self, images: &Tensor, labels: &Tensor, step: u64) -> Result<Done, TrainError> {
        let ends: Vec<ValueId> = self.ends.iter().map(|e| e.value).collect();
        let taught = self
            .teacher
            .as_ref()
            .map(|t| t.outputs(images, &ends))
            .transpose()?;
        let mut first: Option<(Tensor, Done)> = None;
        for widths in self.draws(step) {
            let (cut, followed) = self.cut(&widths)?;
            let bound = self.net.bind(&widths, cut.as_ref())?;
            let taps: Vec<ValueId> = followed.iter().map(|f| f.student).collect();
            let own = self
                .network
                .outputs(images, &bound, cut.as_ref(), NormMode::Batch, &taps)?;
            let loss = match (&first, &taught) {
                // With no network given to learn from, the smaller ones learn from the largest.
                (Some((largest, _)), None) => distillation(&own.logits, largest, 1.0)?,
                (_, taught) => mixed_loss(
                    &own,
                    labels,
                    self.config.label_smoothing,
                    taught.as_ref(),
                    &followed,
                    self.config.shares(),
                )?,
            };
            let logits = own.logits;
            self.sgd.backward(&loss)?;
            let value = loss.f_double_value(&[])?;
            match &mut first {
                None => {
                    let done = Done {
                        loss: value,
                        correct: accuracy(&logits.detach(), labels)?,
                    };
                    first = Some((logits.detach(), done));
                }
                // The first network's loss is reported; the others only must not be lost when they turn into NaN.
                Some((_, done)) if !value.is_finite() => done.loss = value,
                Some(_) => {}
            }
        }
        Ok(first.map_or(
            Done {
                loss: 0.0,
                correct: 0,
            },
            |f| f.1,
        ))
    }

    fn sgd(&mut self) -> &mut Sgd {
        &mut self.sgd
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
            if let Some(layer) = self.network.first_bad_layer(images, &bound, cut.as_ref()) {
                return layer;
            }
        }
        "the loss".into()
    }
}

/// Trains `state` to the end, or until `observer` stops it. When `checkpoint` names a file that exists, training goes on
/// from there; it is rewritten every [`JointConfig::checkpoint_seconds`], after every epoch and on stopping.
///
/// # Errors
/// [`TrainError::NonFinite`] as soon as a loss, gradient or weight is not finite (the last good checkpoint stays),
/// [`TrainError::Checkpoint`] when the file belongs to another training, [`TrainError::Io`] when it cannot be written,
/// [`TrainError::Data`] when an image cannot be read.
pub fn train_joint(
    state: &mut JointState,
    loader: &Loader,
    checkpoint: Option<&Path>,
    observer: &mut dyn Observer,
) -> Result<Completion, TrainError> {
    state
        .network
        .check_classes(loader.dataset().classes().len())?;
    let config = state.config.clone();
    let fingerprint = checkpoint::fingerprint(&(&state.fingerprint, loader_identity(loader)));
    let plan = Plan {
        loader,
        epochs: config.epochs,
        sgd: &config.sgd,
        seed: state.seed,
        device: state.runtime.device,
        checkpoint,
        checkpoint_every: Duration::from_secs_f64(config.checkpoint_seconds.max(0.0)),
        fingerprint,
        kind: "joint",
    };
    let mut position = plan.resume(state)?.max(state.position);
    let end = plan.run(state, &mut position, observer);
    state.position = position;
    end
}
