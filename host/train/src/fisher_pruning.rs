//! Pruning while training, by Group Fisher importance.

use channels::{Cut, PrunePlan};
use datasets::Loader;
use onnx_graph::ValueId;
use tch::{Kind, Reduction, Tensor};
use torch_exec::{NormMode, Params};

use crate::TrainError;
use crate::importance::{Written, by_image, written};
use crate::network::{Network, Runtime};
use crate::observer::{Event, Observer};
use crate::position::{Position, StepResult};
use crate::prunable::Prunable;
use crate::sgd::{Sgd, SgdConfig, Trained};
use crate::training::{Steps, Throughput, share_correct, tensors};

/// What a step is taken to save at least, as a share of the cost: a price needs a divisor.
const LEAST_SAVED: f64 = 1e-6;
/// Steps of the whole way in events.
const PROGRESS: u64 = 1000;

/// Settings of a [`FisherPruning`].
#[derive(Debug, Clone, PartialEq)]
pub struct FisherPruningConfig {
    /// Training batches between two steps.
    pub every: usize,
    /// Optimiser; the learning rate is constant.
    pub sgd: SgdConfig,
    /// Share of a batch in the running statistics of batch normalisations.
    pub norm_momentum: f64,
}

impl Default for FisherPruningConfig {
    fn default() -> Self {
        Self {
            every: 10,
            sgd: SgdConfig {
                lr: 0.002,
                ..SgdConfig::default()
            },
            norm_momentum: 0.1,
        }
    }
}

/// Prunes a network while it trains, as Group Fisher Pruning (Liu et al., ICML 2021): after every
/// few batches the step goes whose units have the least squared mask gradients for the cost that
/// it saves. One training yields a configuration for each of several budgets.
///
/// The paper masks one channel at a time and divides by the memory that it frees. Here a step leads
/// to the next admissible width, and the cost is the caller's, such as predicted latency: kernels
/// take their time in blocks of channels, so a single one frees none.
pub struct FisherPruning<'a> {
    /// The trained network. Its order is not used.
    pub prunable: Prunable<'a>,
    /// Per group the admissible widths, ascending, up to the full one.
    pub widths: &'a [Vec<usize>],
    /// The cost of a configuration.
    pub cost: &'a dyn Fn(&[usize]) -> f64,
    /// Costs at which the configuration is recorded, descending.
    pub budgets: &'a [f64],
    /// The training data.
    pub loader: &'a Loader,
    /// The settings.
    pub config: &'a FisherPruningConfig,
    /// Device, memory order and precision.
    pub runtime: Runtime,
}

/// A configuration on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Milestone {
    /// The budget that it is the first to meet.
    pub budget: f64,
    /// Units left per group.
    pub widths: Vec<usize>,
    /// Per group its units: those that are left, then the others, the first to go last.
    pub order: Vec<Vec<usize>>,
}

impl FisherPruning<'_> {
    /// Trains and prunes until the last budget is met, or nothing is left to prune. `None` if the
    /// observer stops it. An event's steps are thousandths of the way to the last budget.
    ///
    /// # Errors
    /// [`TrainError::NonFinite`] if the training diverges, [`TrainError::Data`], and errors of
    /// running the network.
    pub fn run(&self, observer: &mut dyn Observer) -> Result<Option<Vec<Milestone>>, TrainError> {
        let mut shrinking = Shrinking::new(self)?;
        let mut milestones = Vec::new();
        let mut budgets = self.budgets.iter().copied().peekable();
        let mut position = Position::default();
        let whole = (self.cost)(&shrinking.widths);
        let mut throughput = Throughput::default();
        loop {
            let cost = (self.cost)(&shrinking.widths);
            while let Some(budget) = budgets.next_if(|budget| cost <= *budget) {
                milestones.push(shrinking.milestone(budget));
            }
            if budgets.peek().is_none() {
                return Ok(Some(milestones));
            }
            let last = self.budgets.last().copied().unwrap_or(cost);
            let way = (whole - cost) / (whole - last).max(f64::MIN_POSITIVE);
            for batch in self
                .loader
                .epoch(position.epoch as u64)
                .take(self.config.every)
            {
                let (images, labels) = tensors(&batch?, self.runtime.device)?;
                let (sgd, batch) = (&self.config.sgd, (&images, &labels));
                let result = shrinking.train_batch(batch, position, (sgd, sgd.lr), None)?;
                position.step += 1;
                let count = labels.size()[0] as usize;
                let event = Event {
                    stage: shrinking.stage(),
                    epoch: 0,
                    epochs: 1,
                    step: (way.clamp(0.0, 1.0) * PROGRESS as f64) as u64,
                    steps: PROGRESS,
                    images_per_second: throughput.add(count),
                    loss: result.loss,
                    score: result.score,
                    lr: sgd.lr,
                    checkpointed: false,
                };
                if observer.progress(event).is_break() {
                    return Ok(None);
                }
            }
            // Each stretch draws from an order of its own.
            position.epoch += 1;
            if !shrinking.shrink(self.widths, self.cost)? {
                return Ok(Some(milestones));
            }
        }
    }
}

/// A network that trains and shrinks.
struct Shrinking<'a> {
    prunable: Prunable<'a>,
    network: Network,
    params: Params,
    sgd: Sgd,
    norm_momentum: f64,
    widths: Vec<usize>,
    /// Units that are left.
    alive: Vec<Vec<usize>>,
    /// Units that are gone, in the order of their going.
    gone: Vec<Vec<usize>>,
    /// Sums of squared mask gradients since the last step, per group and unit.
    scores: Vec<Vec<f64>>,
    cut: Cut,
    /// What the layers of the whole network write, and of those that are left.
    all_written: Vec<Written>,
    written: Vec<Written>,
}

impl<'a> Shrinking<'a> {
    fn new(job: &FisherPruning<'a>) -> Result<Self, TrainError> {
        let graph = job.prunable.graph;
        let groups = job.prunable.analysis.groups();
        let params = Params::with_options(graph, job.runtime.device, &job.runtime.options)?;
        let trained = params.trainable(graph).into_iter();
        let trained = trained.map(|(_, name, tensor)| Trained {
            name,
            decay: tensor.dim() > 1,
            tensor,
        });
        let mut shrinking = Self {
            prunable: job.prunable,
            network: Network::new(graph, job.runtime.options)?,
            sgd: Sgd::new(trained.collect()),
            params,
            norm_momentum: job.config.norm_momentum,
            widths: groups.iter().map(|group| group.channels).collect(),
            alive: groups
                .iter()
                .map(|group| (0..group.channels).collect())
                .collect(),
            gone: vec![Vec::new(); groups.len()],
            scores: groups
                .iter()
                .map(|group| vec![0.0; group.channels])
                .collect(),
            cut: Cut::default(),
            all_written: written(graph, job.prunable.analysis),
            written: Vec::new(),
        };
        shrinking.settle()?;
        Ok(shrinking)
    }

    fn order(&self) -> Vec<Vec<usize>> {
        let groups = self.alive.iter().zip(&self.gone).zip(&self.scores);
        groups
            .map(|((alive, gone), scores)| {
                let mut order = alive.clone();
                order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
                order.extend(gone.iter().rev());
                order
            })
            .collect()
    }

    fn milestone(&self, budget: f64) -> Milestone {
        Milestone {
            budget,
            widths: self.widths.clone(),
            order: self.order(),
        }
    }

    /// Takes the cut and the masks of the units that are left.
    fn settle(&mut self) -> Result<(), TrainError> {
        let Prunable {
            graph, analysis, ..
        } = self.prunable;
        let plan = PrunePlan::from_widths(analysis, &self.order(), &self.widths)?;
        self.cut = channels::cut(graph, analysis, &plan)?;
        let producers = graph.producers();
        let is_alive = |value: ValueId| {
            producers[value.index()].is_some_and(|node| !self.cut.dead.contains(&node))
        };
        let written = self.all_written.iter();
        let written = written.filter(|of| is_alive(of.value));
        self.written = written.filter_map(|of| of.under(analysis, &plan)).collect();
        Ok(())
    }

    /// Takes the step with the least score for the cost that it saves. `false` if there is none.
    fn shrink(
        &mut self,
        widths: &[Vec<usize>],
        cost: &dyn Fn(&[usize]) -> f64,
    ) -> Result<bool, TrainError> {
        let now = cost(&self.widths);
        let order = self.order();
        let mut best: Option<(f64, usize, usize)> = None;
        for (group, admissible) in widths.iter().enumerate() {
            let width = self.widths[group];
            let Some(&next) = admissible.iter().rev().find(|&&of| of < width) else {
                continue;
            };
            let lost: f64 = (order[group][next..width].iter())
                .map(|&unit| self.scores[group][unit])
                .sum();
            let mut after = self.widths.clone();
            after[group] = next;
            let price = lost / (now - cost(&after)).max(now * LEAST_SAVED);
            if best.is_none_or(|(least, ..)| price < least) {
                best = Some((price, group, next));
            }
        }
        let Some((_, group, next)) = best else {
            return Ok(false);
        };
        let dropped = order[group][next..self.widths[group]].iter().rev();
        self.gone[group].extend(dropped);
        self.alive[group] = order[group][..next].to_vec();
        self.widths[group] = next;
        for scores in &mut self.scores {
            scores.fill(0.0);
        }
        self.settle()?;
        Ok(true)
    }
}

impl Steps for Shrinking<'_> {
    fn stage(&self) -> &'static str {
        "pruning by Group Fisher"
    }

    fn step(&mut self, images: &Tensor, labels: &Tensor, _: u64) -> Result<StepResult, TrainError> {
        let mode = NormMode::Update {
            momentum: self.norm_momentum,
        };
        let mut taps: Vec<ValueId> = self.written.iter().map(|of| of.value).collect();
        taps.sort_unstable();
        taps.dedup();
        let outputs = (self.network).outputs(images, &self.params, Some(&self.cut), mode, &taps)?;
        let logits = outputs.logits()?;
        // Summed, so that an image's derivative does not depend on the size of the batch.
        let count = labels.size()[0];
        let sum =
            logits.f_cross_entropy_loss(labels, None::<&Tensor>, Reduction::Sum, -100, 0.0)?;
        let values: Vec<&Tensor> = taps.iter().filter_map(|&id| outputs.tap(id)).collect();
        let gradients = Tensor::f_run_backward(&[&sum], &values, true, false)?;
        let products: Vec<_> = (taps.iter().copied().zip(values).zip(&gradients))
            .map(|((id, value), gradient)| (id, value, gradient))
            .collect();
        let analysis = self.prunable.analysis;
        let derivatives = by_image(&self.written, &products, analysis, images)?;
        for (scores, derivatives) in self.scores.iter_mut().zip(&derivatives) {
            let squares = derivatives.f_square()?;
            let squares = squares.f_sum_dim_intlist(0i64, false, Kind::Double)?;
            let squares: Vec<f64> = Vec::try_from(&squares)?;
            scores
                .iter_mut()
                .zip(squares)
                .for_each(|(sum, of)| *sum += of);
        }
        let loss = sum.f_div_scalar(count as f64)?;
        self.sgd.backward(&loss)?;
        Ok(StepResult {
            loss: loss.f_double_value(&[])?,
            score: share_correct(&logits.detach(), labels)?,
        })
    }

    fn sgd(&mut self) -> &mut Sgd {
        &mut self.sgd
    }

    fn updated(&mut self, _: u64) -> Result<(), TrainError> {
        Ok(())
    }

    fn tensors(&self) -> Vec<(String, Tensor)> {
        self.params.named()
    }

    fn blame(&self, images: &Tensor, _: u64) -> String {
        self.network
            .first_non_finite_layer(images, &self.params, Some(&self.cut))
            .unwrap_or_else(|| "the loss".into())
    }
}
