//! A frozen network to learn from, and the loss that mixes its outputs with the labels (Hinton et
//! al., arXiv 1503.02531). The teacher sees the augmented batch (Beyer et al., CVPR 2022).

use onnx_graph::{Graph, ValueId};
use tch::Tensor;
use torch_exec::{NormMode, Params};

use crate::TrainError;
use crate::features::{Feature, distance, select, value_of};
use crate::loss::LossWeights;
use crate::network::{Network, Outputs, Runtime};
use crate::task::Task;

/// A network to learn from and the features that its student follows.
#[derive(Debug, Clone, Copy)]
pub struct TeacherSetup<'a> {
    /// The network.
    pub graph: &'a Graph,
    /// The features.
    pub features: &'a [Feature],
}

/// A frozen network to learn from.
pub(crate) struct Teacher {
    network: Network,
    params: Params,
}

impl Teacher {
    /// Compiles the teacher.
    pub fn new(graph: &Graph, task: &dyn Task, runtime: Runtime) -> Result<Self, TrainError> {
        Ok(Self {
            network: Network::for_task(graph, task, runtime.options)?,
            params: Params::with_options(graph, runtime.device, &runtime.options)?,
        })
    }

    /// Returns the heads and the values `taps` for `images`, without gradients.
    pub fn outputs(&self, images: &Tensor, taps: &[ValueId]) -> Result<Outputs, TrainError> {
        let mode = NormMode::Running;
        tch::no_grad(|| self.network.outputs(images, &self.params, None, mode, taps))
    }
}

/// Whether the loss of a task reads a teacher.
pub(crate) fn reads_teacher(task: &dyn Task, weights: LossWeights) -> bool {
    task.follows_original() || weights.distil.share > 0.0 || weights.features > 0.0
}

/// A student's value and the teacher's value that it follows on the kept channels.
pub(crate) struct FeaturePair {
    pub student: ValueId,
    pub teacher: ValueId,
    pub keep: Option<Vec<i64>>,
}

impl FeaturePair {
    /// Resolves the `features` that both networks have.
    pub fn resolve(student: &Graph, teacher: &Graph, features: &[Feature]) -> Vec<Self> {
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

/// Returns the loss of a task, and added to it the distances of the feature pairs, if there is a
/// teacher.
pub(crate) fn mixed_loss(
    task: &dyn Task,
    (student, teacher): (&Outputs, Option<&Outputs>),
    targets: &Tensor,
    pairs: &[FeaturePair],
    weights: LossWeights,
) -> Result<Tensor, TrainError> {
    let heads = teacher.map(|teacher| &teacher.heads[..]);
    let mut loss = task.loss(&student.heads, targets, heads, weights)?;
    let Some(teacher) = teacher else {
        return Ok(loss);
    };
    for pair in pairs {
        if let (Some(own), Some(target)) = (student.tap(pair.student), teacher.tap(pair.teacher)) {
            let apart = distance(own, &select(target, pair.keep.as_deref())?)?;
            loss = loss.f_add(&apart.f_mul_scalar(weights.features)?)?;
        }
    }
    Ok(loss)
}
