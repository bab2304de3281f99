//! Estimates BatchNormalization statistics anew and corrects estimates for pruned networks.

use std::collections::BTreeMap;

use channels::{Crop, Cut};
use onnx_graph::ops::Op;
use onnx_graph::{Graph, ValueId};
use tch::{TchError, Tensor};

use crate::norm::{NormAverage, NormKey};
use crate::{ExecError, NormMode, NormStats, Program, WeightSource, crop};

/// Difference between the stored statistics of a network and those that [`reestimate`] yields on
/// given images. It stems from batch noise and from differences between these images and the
/// training data. Estimates for networks pruned from this one are corrected by the same
/// difference, so that the unpruned network keeps its own statistics.
pub struct NormDrift {
    nodes: BTreeMap<NormKey, NodeDrift>,
}

struct NodeDrift {
    /// Stored minus estimated mean, per channel of the unpruned network.
    shift: Tensor,
    /// Stored over estimated variance, each plus epsilon, per channel of the unpruned network.
    ratio: Tensor,
    epsilon: f64,
}

impl NormDrift {
    /// Measures the drift of the network `graph`, compiled as `program`, with its own `weights`
    /// on `batches` (each `[N, C, H, W]`).
    ///
    /// # Errors
    /// As [`reestimate`].
    pub fn measure(
        graph: &Graph,
        program: &Program,
        weights: &dyn WeightSource,
        batches: impl IntoIterator<Item = Tensor>,
    ) -> Result<Self, ExecError> {
        let stats = reestimate(program, weights, None, batches)?;
        let mut nodes = BTreeMap::new();
        for node in graph.nodes() {
            let (Op::BatchNormalization(op), Some(mean), Some(var)) =
                (&node.op, node.input(3), node.input(4))
            else {
                continue;
            };
            let (Some(new_mean), Some(new_var)) = (stats.get(mean), stats.get(var)) else {
                continue;
            };
            let stored = (weights.weight(mean, None)?, weights.weight(var, None)?);
            let estimated = (new_mean, new_var);
            let drift = NodeDrift::between(stored, estimated, f64::from(op.epsilon))
                .map_err(ExecError::tensor("comparing statistics"))?;
            nodes.insert((mean, var), drift);
        }
        Ok(Self { nodes })
    }

    /// Corrects statistics collected under `cut`.
    ///
    /// # Errors
    /// [`ExecError::Crop`] if the cut belongs to another network.
    pub fn correct(&self, stats: NormStats, cut: Option<&Cut>) -> Result<NormStats, ExecError> {
        stats.try_update(|key, average| {
            let Some(drift) = self.nodes.get(&key) else {
                return Ok(());
            };
            let kept = |all: &Tensor| match cut.and_then(|cut| cut.crops.get(&key.0)) {
                Some(kept) => crop(all, kept),
                None => Ok(all.shallow_clone()),
            };
            drift
                .apply(average, &kept(&drift.shift)?, &kept(&drift.ratio)?)
                .map_err(ExecError::tensor("correcting statistics"))
        })?;
        Ok(stats)
    }
}

impl NodeDrift {
    fn between(
        stored: (Tensor, Tensor),
        estimated: (Tensor, Tensor),
        epsilon: f64,
    ) -> Result<Self, TchError> {
        let ratio = stored
            .1
            .f_add_scalar(epsilon)?
            .f_div(&estimated.1.f_add_scalar(epsilon)?)?;
        Ok(Self {
            shift: stored.0.f_sub(&estimated.0)?.f_detach()?,
            ratio: ratio.f_detach()?,
            epsilon,
        })
    }

    fn apply(
        &self,
        average: &mut NormAverage,
        shift: &Tensor,
        ratio: &Tensor,
    ) -> Result<(), TchError> {
        average.mean = average.mean.f_add(shift)?;
        average.var = average
            .var
            .f_add_scalar(self.epsilon)?
            .f_mul(ratio)?
            .f_sub_scalar(self.epsilon)?
            .f_clamp_min(0.0)?;
        Ok(())
    }
}

/// A weight source with collected statistics in place of the stored ones. Use it with the cut
/// that the statistics were collected under.
pub struct Overlay<'a> {
    /// Source of all other constants.
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

/// Estimates the statistics of every BatchNormalization over `batches` (each `[N, C, H, W]`),
/// without gradients and without changing the stored ones. As in training, each node's input is
/// normalised by batch statistics in the layers before it.
///
/// # Errors
/// [`ExecError::NoBatches`] for no batch, otherwise as [`Program::forward`].
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
