//! BatchNormalization statistics of a pass and their collection.

use std::cell::RefCell;
use std::collections::BTreeMap;

use onnx_graph::ValueId;
use tch::{Device, Kind, TchError, Tensor};

/// Statistics that BatchNormalization uses in a pass, and whether it stores them.
#[derive(Clone, Copy)]
pub enum NormMode<'a> {
    /// The stored statistics (evaluation).
    Running,
    /// Batch statistics; nothing is stored.
    Batch,
    /// Batch statistics; the stored ones move towards them:
    /// `stored = (1 - momentum) * stored + momentum * batch`, with the unbiased variance. This is
    /// PyTorch's momentum, the complement of ONNX's `momentum` attribute (0.9 there is 0.1 here).
    Update {
        /// Share of the batch in the new value.
        momentum: f64,
    },
    /// Batch statistics; their plain average over the passes is collected.
    Collect(&'a NormStats),
    /// Statistics of a batch whose images are spread over several processes (PyTorch's
    /// SyncBatchNorm). The stored ones move towards them if there is a momentum.
    Synced {
        /// Sums over the processes.
        sums: &'a dyn Sums,
        /// As for `Update`.
        momentum: Option<f64>,
    },
}

impl NormMode<'_> {
    /// Whether the stored statistics move.
    pub(crate) fn stores(self) -> bool {
        match self {
            Self::Update { .. } => true,
            Self::Synced { momentum, .. } => momentum.is_some(),
            Self::Running | Self::Batch | Self::Collect(_) => false,
        }
    }
}

/// Sums over the processes that share a batch.
pub trait Sums {
    /// Returns the sum of a tensor over all processes, through which gradients flow.
    ///
    /// # Errors
    /// A reason in words if another process is gone or silent.
    fn sum(&self, tensor: &Tensor) -> Result<Tensor, TchError>;
}

/// Mean and variance values of a BatchNormalization.
pub(crate) type NormKey = (ValueId, ValueId);

/// Averages of one BatchNormalization; shape `[channels kept]`.
pub(crate) struct NormAverage {
    pub mean: Tensor,
    pub var: Tensor,
    batches: u32,
}

/// Statistics of every BatchNormalization, collected over passes: the mean over the batches of
/// the batch mean and of the unbiased batch variance, as PyTorch's `momentum=None` defines them.
/// Keyed by the graph's mean and variance values, with the shapes of the cut they were collected
/// under.
#[derive(Default)]
pub struct NormStats {
    nodes: RefCell<BTreeMap<NormKey, NormAverage>>,
}

impl NormStats {
    /// Creates an empty collection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns means and variances with their values, on the device of the passes; shape
    /// `[channels kept]`.
    #[must_use]
    pub fn tensors(&self) -> Vec<(ValueId, Tensor)> {
        let mut out = Vec::new();
        for ((mean, var), node) in self.nodes.borrow().iter() {
            out.push((*mean, node.mean.shallow_clone()));
            out.push((*var, node.var.shallow_clone()));
        }
        out
    }

    /// Returns the collected statistic of a mean or variance value.
    #[must_use]
    pub fn get(&self, id: ValueId) -> Option<Tensor> {
        self.nodes.borrow().iter().find_map(|((mean, var), node)| {
            (*mean == id)
                .then(|| node.mean.shallow_clone())
                .or((*var == id).then(|| node.var.shallow_clone()))
        })
    }

    /// Returns whether nothing was collected: no pass was made, or the network has no
    /// BatchNormalization.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.borrow().is_empty()
    }

    /// Changes every average by `change`.
    pub(crate) fn try_update<E>(
        &self,
        mut change: impl FnMut(NormKey, &mut NormAverage) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut nodes = self.nodes.borrow_mut();
        nodes
            .iter_mut()
            .try_for_each(|(key, average)| change(*key, average))
    }

    /// Returns mean, variance and momentum for libtorch's update, which then stores the average
    /// over all passes in them.
    pub(crate) fn next(
        &self,
        key: NormKey,
        channels: i64,
        device: Device,
    ) -> (Tensor, Tensor, f64) {
        let mut nodes = self.nodes.borrow_mut();
        let node = nodes.entry(key).or_insert_with(|| NormAverage {
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
