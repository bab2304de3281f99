//! BatchNormalization's statistics: how a pass uses them, and estimating them anew.

use std::cell::RefCell;
use std::collections::BTreeMap;

use channels::{Crop, Cut};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{Device, Kind, TchError, Tensor};

use crate::{ExecError, Program, WeightSource, crop};

/// Which statistics BatchNormalization uses in a pass, and what becomes of them.
#[derive(Clone, Copy)]
pub enum NormMode<'a> {
    /// The stored ones: evaluation.
    Running,
    /// Those of the batch; nothing is stored.
    Batch,
    /// Those of the batch; the stored ones move towards them:
    /// `stored = (1 - momentum) * stored + momentum * batch`, with the unbiased variance. This is PyTorch's momentum,
    /// the complement of ONNX's `momentum` attribute (0.9 there is 0.1 here).
    Update {
        /// Share of the batch in the new value.
        momentum: f64,
    },
    /// Those of the batch; their plain average over the passes is gathered in the given place.
    Collect(&'a NormStats),
}

struct Gathered {
    mean: Tensor,
    var: Tensor,
    batches: u32,
}

/// Statistics of every BatchNormalization, gathered over passes: the mean over the batches of the batch mean and of the
/// unbiased batch variance, as PyTorch's `momentum=None` defines them. Keyed by the graph's mean and variance values;
/// shaped as the cut under which they were gathered.
#[derive(Default)]
pub struct NormStats {
    nodes: RefCell<BTreeMap<(ValueId, ValueId), Gathered>>,
}

impl NormStats {
    /// Nothing gathered yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Mean and variance by their values, on the device they were gathered on; shape `[channels kept]`.
    #[must_use]
    pub fn tensors(&self) -> Vec<(ValueId, Tensor)> {
        let mut out = Vec::new();
        for ((mean, var), node) in self.nodes.borrow().iter() {
            out.push((*mean, node.mean.shallow_clone()));
            out.push((*var, node.var.shallow_clone()));
        }
        out
    }

    /// The statistic stored for a mean or variance value.
    #[must_use]
    pub fn get(&self, id: ValueId) -> Option<Tensor> {
        self.nodes.borrow().iter().find_map(|((mean, var), node)| {
            (*mean == id)
                .then(|| node.mean.shallow_clone())
                .or((*var == id).then(|| node.var.shallow_clone()))
        })
    }

    /// Whether nothing was gathered, because no pass was made or the network has no BatchNormalization.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.borrow().is_empty()
    }

    /// Mean, variance and momentum to hand to libtorch so that its update makes them the average over all passes.
    pub(crate) fn next(
        &self,
        key: (ValueId, ValueId),
        channels: i64,
        device: Device,
    ) -> (Tensor, Tensor, f64) {
        let mut nodes = self.nodes.borrow_mut();
        let node = nodes.entry(key).or_insert_with(|| Gathered {
            mean: Tensor::zeros([channels], (Kind::Float, device)),
            var: Tensor::zeros([channels], (Kind::Float, device)),
            batches: 0,
        });
        node.batches += 1;
        (
            node.mean.shallow_clone(),
            node.var.shallow_clone(),
            1.0 / f64::from(node.batches),
        )
    }
}

/// How far the stored statistics of a network are from what [`reestimate`] finds on some images: the batches' noise, and
/// whatever distinguishes those images from the training that the statistics stem from. Estimates for networks cut from this
/// one are corrected by as much, so that the uncut network keeps its own statistics.
pub struct NormDrift {
    nodes: BTreeMap<(ValueId, ValueId), NodeDrift>,
}

struct NodeDrift {
    /// Stored mean less the estimated one, per channel of the uncut network.
    shift: Tensor,
    /// Stored variance over the estimated one, each with epsilon, per channel of the uncut network.
    ratio: Tensor,
    epsilon: f64,
}

impl NormDrift {
    /// Of the network `graph`, which `program` was compiled from, with its own `weights` on `batches` (each `[N, C, H, W]`).
    ///
    /// # Errors
    /// As [`reestimate`].
    pub fn measure(
        graph: &Graph,
        program: &Program,
        weights: &dyn WeightSource,
        batches: impl IntoIterator<Item = Tensor>,
    ) -> Result<Self, ExecError> {
        let found = reestimate(program, weights, None, batches)?;
        let mut nodes = BTreeMap::new();
        for node in graph.nodes() {
            let (Op::BatchNormalization(op), Some(mean), Some(var)) =
                (&node.op, node.input(3), node.input(4))
            else {
                continue;
            };
            let held = found.nodes.borrow();
            let Some(estimate) = held.get(&(mean, var)) else {
                continue;
            };
            let stored = (weights.weight(mean, None)?, weights.weight(var, None)?);
            let drift = NodeDrift::between(stored, estimate, f64::from(op.epsilon))
                .map_err(ExecError::tensor("comparing statistics"))?;
            nodes.insert((mean, var), drift);
        }
        Ok(Self { nodes })
    }

    /// The statistics gathered under `cut`, corrected.
    ///
    /// # Errors
    /// [`ExecError::Crop`] when the cut is of another network.
    pub fn correct(&self, stats: NormStats, cut: Option<&Cut>) -> Result<NormStats, ExecError> {
        for (key, node) in stats.nodes.borrow_mut().iter_mut() {
            if let Some(drift) = self.nodes.get(key) {
                let kept = |all: &Tensor| match cut.and_then(|cut| cut.crops.get(&key.0)) {
                    Some(kept) => crop(all, kept),
                    None => Ok(all.shallow_clone()),
                };
                drift
                    .apply(node, &kept(&drift.shift)?, &kept(&drift.ratio)?)
                    .map_err(ExecError::tensor("correcting statistics"))?;
            }
        }
        Ok(stats)
    }
}

impl NodeDrift {
    fn between(
        (mean, var): (Tensor, Tensor),
        estimate: &Gathered,
        epsilon: f64,
    ) -> Result<Self, TchError> {
        let ratio = var
            .f_add_scalar(epsilon)?
            .f_div(&estimate.var.f_add_scalar(epsilon)?)?;
        Ok(Self {
            shift: mean.f_sub(&estimate.mean)?.f_detach()?,
            ratio: ratio.f_detach()?,
            epsilon,
        })
    }

    fn apply(&self, node: &mut Gathered, shift: &Tensor, ratio: &Tensor) -> Result<(), TchError> {
        node.mean = node.mean.f_add(shift)?;
        node.var = node
            .var
            .f_add_scalar(self.epsilon)?
            .f_mul(ratio)?
            .f_sub_scalar(self.epsilon)?
            .f_clamp_min(0.0)?;
        Ok(())
    }
}

/// A weight source whose running statistics are replaced by gathered ones. The statistics must have been gathered under
/// the same cut that the source is then used with.
pub struct Overlay<'a> {
    /// Everything else.
    pub base: &'a dyn WeightSource,
    /// The statistics.
    pub stats: &'a NormStats,
}

impl WeightSource for Overlay<'_> {
    fn weight(&self, id: ValueId, crop: Option<&Crop>) -> Result<Tensor, ExecError> {
        match self.stats.get(id) {
            Some(tensor) => Ok(tensor),
            None => self.base.weight(id, crop),
        }
    }
}

/// Statistics of every BatchNormalization over `batches` (each `[N, C, H, W]`), without gradients and without touching
/// the stored ones. Each node sees its input as normalised by the batch's own statistics before it, as in training.
///
/// # Errors
/// [`ExecError::NoBatches`] for none, otherwise as [`Program::forward`].
pub fn reestimate(
    program: &Program,
    weights: &dyn WeightSource,
    cut: Option<&Cut>,
    batches: impl IntoIterator<Item = Tensor>,
) -> Result<NormStats, ExecError> {
    let stats = NormStats::new();
    let mut any = false;
    tch::no_grad(|| -> Result<(), ExecError> {
        for batch in batches {
            any = true;
            program
                .forward(&batch, weights, cut, NormMode::Collect(&stats))
                .map(drop)?;
        }
        Ok(())
    })?;
    if any {
        Ok(stats)
    } else {
        Err(ExecError::NoBatches)
    }
}
