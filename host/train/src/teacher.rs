//! A frozen network to learn from, and the loss that mixes what it says with the labels (Hinton et al.,
//! arXiv 1503.02531; the teacher sees the augmented batch, Beyer et al., CVPR 2022).

use onnx_graph::Graph;
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_exec::{NormMode, Params, cross_entropy, distillation};

use crate::TrainError;
use crate::network::{Network, Runtime};

/// How much is learnt from a teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillConfig {
    /// Weight of the distillation loss, the rest is cross-entropy's; without a teacher it counts as 0.
    pub share: f64,
    /// Temperature of the distillation.
    pub temperature: f64,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            share: 0.9,
            temperature: 4.0,
        }
    }
}

/// A network whose outputs are learnt from.
pub(crate) struct Teacher {
    network: Network,
    params: Params,
}

impl Teacher {
    /// The teacher, if there is one to be listened to.
    pub fn new(
        graph: Option<&Graph>,
        config: DistillConfig,
        runtime: Runtime,
    ) -> Result<Option<Self>, TrainError> {
        let compile = |graph: &Graph| {
            Ok(Self {
                network: Network::new(graph, runtime.options)?,
                params: Params::with_options(graph, runtime.device, &runtime.options)?,
            })
        };
        graph
            .filter(|_| config.share > 0.0)
            .map(compile)
            .transpose()
    }

    /// Its logits, without gradients.
    pub fn logits(&self, images: &Tensor) -> Result<Tensor, TrainError> {
        tch::no_grad(|| {
            self.network
                .logits(images, &self.params, None, NormMode::Running)
        })
    }
}

/// Cross-entropy with the labels smoothed by `smoothing`, mixed with the distillation from `taught` logits if there are
/// any.
pub(crate) fn mixed_loss(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    taught: Option<&Tensor>,
    config: DistillConfig,
) -> Result<Tensor, TrainError> {
    let own = cross_entropy(logits, labels, smoothing)?;
    let Some(taught) = taught else {
        return Ok(own);
    };
    let distilled = distillation(logits, taught, config.temperature)?;
    Ok(own
        .f_mul_scalar(1.0 - config.share)?
        .f_add(&distilled.f_mul_scalar(config.share)?)?)
}
