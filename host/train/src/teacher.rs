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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillConfig {
    /// Weight of the distillation loss, the rest is cross-entropy's; without a teacher it counts as 0.
    pub share: f64,
    /// Temperature of the distillation.
    pub temperature: f64,
    /// Weight, beside those, of the distance from the teacher's values at the end of each resolution; see [`Feature`].
    pub features: f64,
}

impl Default for DistillConfig {
    fn default() -> Self {
        Self {
            share: 0.9,
            temperature: 4.0,
            features: 3.0,
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
            .filter(|_| config.share > 0.0 || config.features > 0.0)
            .map(compile)
            .transpose()
    }

    /// What it says of `images`, without gradients: its logits and the values `taps`.
    pub fn outputs(&self, images: &Tensor, taps: &[ValueId]) -> Result<Outputs, TrainError> {
        let mode = NormMode::Running;
        tch::no_grad(|| self.network.outputs(images, &self.params, None, mode, taps))
    }
}

/// Where the values that a student follows are in the student and in its teacher.
pub(crate) struct Followed {
    pub student: Vec<ValueId>,
    pub teacher: Vec<ValueId>,
    keep: Vec<Option<Vec<i64>>>,
}

impl Followed {
    /// Nothing but the logits is followed.
    pub fn nothing() -> Self {
        Self {
            student: Vec::new(),
            teacher: Vec::new(),
            keep: Vec::new(),
        }
    }

    /// The features that both networks have.
    pub fn new(student: &Graph, teacher: &Graph, features: &[Feature]) -> Self {
        let mut out = Self::nothing();
        for feature in features {
            if let (Some(own), Some(taught)) =
                (value_of(student, feature), value_of(teacher, feature))
            {
                out.push(own, taught, feature.keep.clone());
            }
        }
        out
    }

    pub fn push(&mut self, student: ValueId, teacher: ValueId, keep: Option<Vec<i64>>) {
        self.student.push(student);
        self.teacher.push(teacher);
        self.keep.push(keep);
    }
}

/// Cross-entropy with the labels smoothed by `smoothing`, mixed with the distillation from `taught` if there is a teacher.
pub(crate) fn mixed_loss(
    own: &Outputs,
    labels: &Tensor,
    smoothing: f64,
    taught: Option<(&Outputs, &Followed)>,
    config: DistillConfig,
) -> Result<Tensor, TrainError> {
    let loss = cross_entropy(&own.logits, labels, smoothing)?;
    let Some((taught, followed)) = taught else {
        return Ok(loss);
    };
    let distilled = distillation(&own.logits, &taught.logits, config.temperature)?;
    let mut loss = loss
        .f_mul_scalar(1.0 - config.share)?
        .f_add(&distilled.f_mul_scalar(config.share)?)?;
    let pairs = own.taps.iter().zip(&taught.taps).zip(&followed.keep);
    for ((own, taught), keep) in pairs {
        let apart = distance(own, &select(taught, keep.as_ref())?)?;
        loss = loss.f_add(&apart.f_mul_scalar(config.features)?)?;
    }
    Ok(loss)
}
