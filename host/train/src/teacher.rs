//! A frozen network to learn from, and the loss that mixes what it says with the labels (Hinton et al.,
//! arXiv 1503.02531; the teacher sees the augmented batch, Beyer et al., CVPR 2022).

use onnx_graph::{Graph, ValueId};
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_exec::{NormMode, Params, cross_entropy, distillation};

use crate::TrainError;
use crate::features::{Feature, distance, select, value_of};
use crate::network::{Network, Outputs, Runtime};

/// How much is learnt from a teacher.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// A network to learn from, and what its student can follow inside of it.
#[derive(Debug, Clone, Copy)]
pub struct TeacherSetup<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// What the student follows.
    pub features: &'a [Feature],
}

/// How much of what is learnt from a teacher.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    /// Its outputs beside the labels.
    pub distil: DistillConfig,
    /// Weight, beside those, of the distance from the values that are followed.
    pub features: f64,
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
        shares: Shares,
        runtime: Runtime,
    ) -> Result<Option<Self>, TrainError> {
        let compile = |graph: &Graph| {
            Ok(Self {
                network: Network::new(graph, runtime.options)?,
                params: Params::with_options(graph, runtime.device, &runtime.options)?,
            })
        };
        graph
            .filter(|_| shares.distil.share > 0.0 || shares.features > 0.0)
            .map(compile)
            .transpose()
    }

    /// What it says of `images`, without gradients: its logits and the values `taps`.
    pub fn outputs(&self, images: &Tensor, taps: &[ValueId]) -> Result<Outputs, TrainError> {
        let mode = NormMode::Running;
        tch::no_grad(|| self.network.outputs(images, &self.params, None, mode, taps))
    }
}

/// A value of the student's that follows one of the teacher's, on the channels it keeps.
pub(crate) struct Followed {
    pub student: ValueId,
    pub teacher: ValueId,
    pub keep: Option<Vec<i64>>,
}

impl Followed {
    /// Those of `features` that both networks have.
    pub fn find(student: &Graph, teacher: &Graph, features: &[Feature]) -> Vec<Self> {
        let pair = |feature: &Feature| {
            Some(Self {
                student: value_of(student, feature)?,
                teacher: value_of(teacher, feature)?,
                keep: feature.keep.clone(),
            })
        };
        features.iter().filter_map(pair).collect()
    }
}

/// Cross-entropy with the labels smoothed by `smoothing`, mixed with the distillation from `taught` if there is a teacher,
/// and the distances of what is followed.
pub(crate) fn mixed_loss(
    own: &Outputs,
    labels: &Tensor,
    smoothing: f64,
    taught: Option<&Outputs>,
    followed: &[Followed],
    shares: Shares,
) -> Result<Tensor, TrainError> {
    let loss = cross_entropy(&own.logits, labels, smoothing)?;
    let Some(taught) = taught else {
        return Ok(loss);
    };
    let DistillConfig { share, temperature } = shares.distil;
    let distilled = distillation(&own.logits, &taught.logits, temperature)?;
    let mut loss = loss
        .f_mul_scalar(1.0 - share)?
        .f_add(&distilled.f_mul_scalar(share)?)?;
    for pair in followed {
        if let (Some(own), Some(taught)) = (own.tap(pair.student), taught.tap(pair.teacher)) {
            let apart = distance(own, &select(taught, pair.keep.as_deref())?)?;
            loss = loss.f_add(&apart.f_mul_scalar(shares.features)?)?;
        }
    }
    Ok(loss)
}
