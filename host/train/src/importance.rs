//! Importance by gradients of masks: Taylor expansion and Group Fisher.
//!
//! A mask of one per unit and image multiplies whatever writes the unit's channels. The loss's
//! derivative by it is the sum, over the positions of all written channels, of the value times its
//! gradient. Coupled layers add up by themselves, before anything is squared.

use std::collections::BTreeSet;

use channels::{Analysis, AxisUnit, Importance, PrunePlan, Scores};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, NodeId, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};
use torch_exec::{ExecError, ExecOptions, NormMode, Params};

use crate::TrainError;
use crate::loss::LossWeights;
use crate::network::Network;
use crate::readers::Readers;
use crate::task::Task;

/// The loss that masks are derived for.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum MaskedLoss {
    /// The loss of the labels: of a classifier the cross-entropy. A network that has learnt its
    /// training images has next to no gradient there.
    CrossEntropy,
    /// A random projection of what the task reads of the outputs: the expected square of its
    /// derivatives is the diagonal of the Gauss-Newton matrix of the squared distance from the
    /// outputs. It needs no labels.
    #[default]
    GaussNewton,
}

/// Images and labels, in batches `[N, C, H, W]` and `[N]`.
pub type Batches = [(Tensor, Tensor)];

/// Group Fisher importance (Liu et al., ICML 2021): the mean over images of the squared derivative
/// of the loss by a unit's mask. Half of it estimates the loss that the unit's removal adds, so
/// scores of different groups can be compared.
pub struct GroupFisher<'a> {
    /// What the network is for.
    pub task: &'a dyn Task,
    /// The images.
    pub batches: &'a Batches,
    /// The loss.
    pub loss: MaskedLoss,
    /// How many random projections of each image count; ignored for the cross-entropy.
    pub projections: usize,
    /// Seed of the projections.
    pub seed: u64,
}

/// First-order Taylor importance, as in HALP (Shen et al., NeurIPS 2022): the absolute mean over
/// images of the derivative of the loss of the labels by a unit's mask.
pub struct Taylor<'a> {
    /// What the network is for.
    pub task: &'a dyn Task,
    /// The images.
    pub batches: &'a Batches,
}

impl Importance for GroupFisher<'_> {
    type Error = TrainError;

    fn scores(&self, graph: &Graph, analysis: &Analysis) -> Result<Scores, TrainError> {
        let masks = Masks::new((graph, self.task), analysis)?;
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let rounds = match self.loss {
            MaskedLoss::CrossEntropy => 1,
            MaskedLoss::GaussNewton => self.projections.max(1),
        };
        let mut sums = Sums::new(analysis);
        for (images, labels) in self.batches {
            for _ in 0..rounds {
                let derivatives = masks.derivatives(images, |heads| match self.loss {
                    MaskedLoss::CrossEntropy => summed_loss(self.task, heads, labels),
                    MaskedLoss::GaussNewton => Ok(projection(&self.task.rows(heads)?, &mut rng)?),
                })?;
                sums.add(&derivatives, |by_image| by_image.f_square())?;
            }
        }
        Ok(sums.mean(|mean| mean))
    }
}

impl Importance for Taylor<'_> {
    type Error = TrainError;

    fn scores(&self, graph: &Graph, analysis: &Analysis) -> Result<Scores, TrainError> {
        let masks = Masks::new((graph, self.task), analysis)?;
        let mut sums = Sums::new(analysis);
        for (images, labels) in self.batches {
            let loss = |heads: &[Tensor]| summed_loss(self.task, heads, labels);
            let derivatives = masks.derivatives(images, loss)?;
            sums.add(&derivatives, |by_image| Ok(by_image.shallow_clone()))?;
        }
        Ok(sums.mean(f64::abs))
    }
}

/// Summed, so that the derivative by an image's mask does not depend on the batch.
fn summed_loss(task: &dyn Task, heads: &[Tensor], targets: &Tensor) -> Result<Tensor, TrainError> {
    let loss = task.loss(heads, targets, None, LossWeights::of_labels())?;
    let images = targets.size().first().copied().unwrap_or(1);
    Ok(loss.f_mul_scalar(images)?)
}

/// The sum of the outputs with random signs: the signs' covariance is the identity.
fn projection(logits: &Tensor, rng: &mut ChaCha8Rng) -> Result<Tensor, TchError> {
    let signs: Vec<f32> = (0..logits.numel())
        .map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 })
        .collect();
    let signs = Tensor::f_from_slice(&signs)?
        .f_reshape(logits.size())?
        .f_to_device(logits.device())?;
    logits.f_mul(&signs)?.f_sum(Kind::Float)
}

/// A value that channels of a group are written to.
#[derive(Clone)]
pub(crate) struct Written {
    pub value: ValueId,
    axis: usize,
    /// The axis of the batch.
    batch: usize,
    group: usize,
    /// Indices of the axis, and the unit of each.
    channels: Vec<i64>,
    units: Vec<i64>,
}

impl Written {
    /// The same value of a network pruned by `plan`, or `None` if it holds no unit of the group
    /// any more.
    pub fn under(&self, analysis: &Analysis, plan: &PrunePlan) -> Option<Self> {
        let (_, owners) = analysis.value_channels(self.value)?;
        let is_kept = |owner: &Option<AxisUnit>| {
            owner.is_none_or(|of| plan.keep[of.group.0].binary_search(&of.unit).is_ok())
        };
        let owners = owners.into_iter().filter(is_kept);
        let owned = (0i64..).zip(owners).filter_map(|(channel, of)| {
            let unit = of.filter(|of| of.group.0 == self.group)?;
            Some((channel, unit.unit as i64))
        });
        let (channels, units): (Vec<i64>, Vec<i64>) = owned.unzip();
        (!units.is_empty()).then(|| Self {
            channels,
            units,
            ..self.clone()
        })
    }
}

/// A network with the values that its masks multiply.
struct Masks<'a> {
    network: Network,
    params: Params,
    written: Vec<Written>,
    analysis: &'a Analysis,
}

impl<'a> Masks<'a> {
    fn new((graph, task): (&Graph, &dyn Task), analysis: &'a Analysis) -> Result<Self, TrainError> {
        Ok(Self {
            network: Network::for_task(graph, task, ExecOptions::default())?,
            params: Params::from_graph(graph, tch::Device::Cpu)?,
            written: written(graph, analysis),
            analysis,
        })
    }

    /// Returns, per group, the derivatives `[images, units]` of a loss that is a sum over images.
    fn derivatives(
        &self,
        images: &Tensor,
        loss: impl FnOnce(&[Tensor]) -> Result<Tensor, TrainError>,
    ) -> Result<Vec<Tensor>, TrainError> {
        let mut taps: Vec<ValueId> = self.written.iter().map(|of| of.value).collect();
        taps.sort_unstable();
        taps.dedup();
        if taps.is_empty() {
            return by_image(&[], &[], self.analysis, images);
        }
        let mode = NormMode::Running;
        let outputs = self
            .network
            .outputs(images, &self.params, None, mode, &taps)?;
        let loss = loss(&outputs.heads)?;
        let values: Vec<&Tensor> = taps.iter().filter_map(|&id| outputs.tap(id)).collect();
        let gradients = Tensor::f_run_backward(&[loss], &values, false, false)?;
        // A value that no head depends on has none.
        let products: Vec<_> = (taps.iter().copied().zip(values).zip(&gradients))
            .filter(|(_, gradient)| gradient.defined())
            .map(|((id, value), gradient)| (id, value, gradient))
            .collect();
        by_image(&self.written, &products, self.analysis, images)
    }
}

/// Returns, per group, the derivatives `[images, units]` by the masks of what is written, given
/// values with their gradients.
pub(crate) fn by_image(
    written: &[Written],
    products: &[(ValueId, &Tensor, &Tensor)],
    analysis: &Analysis,
    images: &Tensor,
) -> Result<Vec<Tensor>, TrainError> {
    let count = images.size()[0];
    let zeros =
        |channels: usize| Tensor::f_zeros([count, channels as i64], (Kind::Float, images.device()));
    let groups = analysis.groups().iter();
    let groups = groups.map(|group| zeros(group.channels));
    let mut groups: Vec<Tensor> = groups.collect::<Result<_, _>>()?;
    let _guard = tch::no_grad_guard();
    for of in written {
        let Some((_, value, gradient)) = products.iter().find(|(id, ..)| *id == of.value) else {
            continue;
        };
        let sum = by_channel((value, gradient), (of.axis, of.batch), count).map_err(
            ExecError::tensor(format!("masking '{}'", analysis.groups()[of.group].name)),
        )?;
        let sum = sum.f_index_select(1, &Tensor::from_slice(&of.channels))?;
        let units = Tensor::from_slice(&of.units);
        groups[of.group] = groups[of.group].f_index_add(1, &units, &sum)?;
    }
    Ok(groups)
}

/// The sum over positions of a value, with channels and the batch on these axes, times its
/// gradient: `[images, channels]`.
fn by_channel(
    (value, gradient): (&Tensor, &Tensor),
    (axis, batch): (usize, usize),
    images: i64,
) -> Result<Tensor, TchError> {
    let product = value.f_mul(gradient)?;
    let product = product.f_movedim(&[batch as i64, axis as i64][..], &[0i64, -1][..])?;
    let channels = product.size().last().copied().unwrap_or(1);
    product
        .f_reshape([images, -1, channels])?
        .f_sum_dim_intlist(1i64, false, Kind::Float)
}

/// Sums over images, per group and unit.
struct Sums {
    groups: Vec<Vec<f64>>,
    images: usize,
}

impl Sums {
    fn new(analysis: &Analysis) -> Self {
        let groups = analysis.groups().iter();
        Self {
            groups: groups.map(|group| vec![0.0; group.channels]).collect(),
            images: 0,
        }
    }

    fn add(
        &mut self,
        derivatives: &[Tensor],
        of: impl Fn(&Tensor) -> Result<Tensor, TchError>,
    ) -> Result<(), TrainError> {
        for (sums, by_image) in self.groups.iter_mut().zip(derivatives) {
            let total = of(by_image)?.f_sum_dim_intlist(0i64, false, Kind::Double)?;
            let total: Vec<f64> = Vec::try_from(&total)?;
            sums.iter_mut().zip(total).for_each(|(sum, of)| *sum += of);
        }
        let images = derivatives.first().map_or(0, |of| of.size()[0]);
        self.images += images as usize;
        Ok(())
    }

    fn mean(self, of: impl Fn(f64) -> f64) -> Scores {
        let count = self.images.max(1) as f64;
        let groups = self.groups.into_iter();
        let groups = groups.map(|sums| sums.into_iter().map(|sum| of(sum / count)).collect());
        Scores {
            groups: groups.collect(),
        }
    }
}

/// The values that the layers write the units of groups to, behind bias and batch normalisation.
pub(crate) fn written(graph: &Graph, analysis: &Analysis) -> Vec<Written> {
    let readers = Readers::new(graph);
    let mut out = Vec::new();
    for (id, owners) in analysis.layers() {
        let value = readers.end(id);
        if owners.iter().all(Option::is_none) || passes_on(&readers, analysis, value) {
            continue;
        }
        let Some((axis, owners)) = analysis.value_channels(value) else {
            continue;
        };
        let groups: BTreeSet<usize> = owners.iter().flatten().map(|of| of.group.0).collect();
        for group in groups {
            let owned = (0i64..).zip(&owners);
            let owned = owned.filter_map(|(channel, of)| {
                let unit = of.filter(|of: &AxisUnit| of.group.0 == group)?;
                Some((channel, unit.unit as i64))
            });
            let (channels, units) = owned.unzip();
            out.push(Written {
                value,
                axis,
                batch: graph.batch_axis(value),
                group,
                channels,
                units,
            });
        }
    }
    out
}

/// Whether only depthwise layers of the same units read a value, behind operations on elements. A
/// mask on what they write then covers what they read: both would count a unit twice.
fn passes_on(readers: &Readers<'_>, analysis: &Analysis, value: ValueId) -> bool {
    let graph = readers.graph;
    let owners = |value| analysis.value_channels(value);
    let of = owners(value);
    let layers: BTreeSet<NodeId> = analysis.layers().map(|(id, _)| id).collect();
    let mut open = vec![value];
    let mut reached: BTreeSet<ValueId> = BTreeSet::from([value]);
    let mut depthwise = false;
    while let Some(value) = open.pop() {
        if readers.is_output(value) {
            return false;
        }
        for &reader in readers.of(value) {
            let node = graph.node(reader);
            let output = node.output();
            if owners(output) != of {
                return false;
            }
            if layers.contains(&reader) {
                depthwise = true;
                continue;
            }
            // The activations that exporters write as several nodes: each reads only this value.
            let is_own =
                |input: &ValueId| graph.constant(*input).is_some() || reached.contains(input);
            let own = node.inputs.iter().flatten().all(is_own);
            let later = |input: &ValueId| owners(*input) == of;
            let joins = matches!(node.op, Op::Mul(_)) && node.inputs.iter().flatten().all(later);
            if !(own || joins) {
                return false;
            }
            if reached.insert(output) {
                open.push(output);
            }
        }
    }
    depthwise
}

#[cfg(test)]
mod tests {
    use channels::analyse;
    use model_zoo::ZooConfig;

    use super::*;

    #[test]
    fn a_depthwise_layer_counts_instead_of_the_layer_that_feeds_it() {
        let graph = model_zoo::build("mobilenet_v2", &ZooConfig::default()).unwrap();
        let analysis = analyse(&graph).unwrap();
        let written = written(&graph, &analysis);
        let is_depthwise =
            |id: NodeId| matches!(&graph.node(id).op, Op::Conv(conv) if conv.group > 1);
        let mut with_depthwise = 0;
        for (group, of) in analysis.groups().iter().enumerate() {
            let taps = written.iter().filter(|tap| tap.group == group).count();
            let depthwise = of.producers.iter().filter(|id| is_depthwise(**id)).count();
            with_depthwise += usize::from(depthwise == 1);
            // A depthwise layer replaces one other producer.
            assert_eq!(taps, of.producers.len() - depthwise, "{}", of.name);
        }
        assert!(with_depthwise > 10, "{with_depthwise}");
    }
}
