//! Features that a pruned network learns from its original: the last values of each resolution,
//! channel by channel. The kept channels correspond to each other, so no adapter is needed
//! (unlike FitNets, Romero et al., ICLR 2015).

use channels::{Analysis, Cut, PrunePlan};
use onnx_graph::{Graph, Node, NodeId, ValueId};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::TrainError;

/// The last value of a resolution, identified by its reader, which pruning keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StageEnd {
    pub reader: NodeId,
    name: String,
    pub value: ValueId,
}

/// A value of the original that a pruned network should reproduce on its kept channels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Feature {
    /// Name of the node with the value as first input, in both networks.
    pub reader: String,
    /// The kept channels among the original's; `None` for all.
    pub keep: Option<Vec<i64>>,
}

/// Returns the values of `graph` whose reader has fewer output positions: a strided layer or a
/// pooling.
pub(crate) fn stage_ends(graph: &Graph, analysis: &Analysis) -> Vec<StageEnd> {
    let positions = |id: ValueId| -> Option<usize> {
        let shape = graph.value(id).shape.as_deref()?;
        shape.get(2..)?.iter().map(|d| d.known()).product()
    };
    let mut out: Vec<StageEnd> = Vec::new();
    for (id, node) in graph.iter() {
        let Some(value) = node.input(0).filter(|v| graph.constant(*v).is_none()) else {
            continue;
        };
        let has_channels = analysis
            .value_channels(value)
            .is_some_and(|(axis, _)| axis == 1);
        let shrinks =
            positions(value).is_some_and(|before| positions(node.output()).unwrap_or(1) < before);
        let new = out.iter().all(|end| end.value != value);
        if has_channels && shrinks && new && !graph.inputs().contains(&value) {
            out.push(StageEnd {
                reader: id,
                name: node.name.clone(),
                value,
            });
        }
    }
    out
}

/// Returns the `ends` that a plan keeps, with their kept channels.
pub(crate) fn kept<'a>(
    ends: &'a [StageEnd],
    analysis: &Analysis,
    plan: &PrunePlan,
    cut: &Cut,
) -> Vec<(&'a StageEnd, Option<Vec<i64>>)> {
    let left = ends.iter().filter(|end| !cut.dead.contains(&end.reader));
    left.filter_map(|end| {
        let (_, owners) = analysis.value_channels(end.value)?;
        let stays = |i: &usize| {
            owners[*i].is_none_or(|u| plan.keep[u.group.0].binary_search(&u.unit).is_ok())
        };
        let keep: Vec<i64> = (0..owners.len()).filter(stays).map(|i| i as i64).collect();
        match keep.len() {
            0 => None,
            n => Some((end, (n < owners.len()).then_some(keep))),
        }
    })
    .collect()
}

/// Returns the features of `original` that the network pruned by `plan` can follow.
///
/// # Errors
/// [`TrainError::Channels`] if the plan does not fit the network.
pub fn features(
    original: &Graph,
    analysis: &Analysis,
    plan: &PrunePlan,
) -> Result<Vec<Feature>, TrainError> {
    let cut = channels::cut(original, analysis, plan)?;
    let ends = stage_ends(original, analysis);
    let kept = kept(&ends, analysis, plan, &cut).into_iter();
    Ok(kept
        .map(|(end, keep)| Feature {
            reader: end.name.clone(),
            keep,
        })
        .collect())
}

/// Returns the value of a feature in `graph`.
pub(crate) fn value_of(graph: &Graph, feature: &Feature) -> Option<ValueId> {
    let reads = |n: &&Node| n.name == feature.reader;
    graph.nodes().iter().find(reads)?.input(0)
}

/// Selects the channels `keep` of a value `[N, C, ...]`.
pub(crate) fn select(value: &Tensor, keep: Option<&[i64]>) -> Result<Tensor, TrainError> {
    Ok(match keep {
        Some(keep) => {
            value.f_index_select(1, &Tensor::from_slice(keep).to_device(value.device()))?
        }
        None => value.shallow_clone(),
    })
}

/// Returns the mean squared difference of `student` and `teacher` over the teacher's mean square.
pub(crate) fn distance(student: &Tensor, teacher: &Tensor) -> Result<Tensor, TrainError> {
    let (student, teacher) = (
        student.f_to_kind(Kind::Float)?,
        teacher.f_detach()?.f_to_kind(Kind::Float)?,
    );
    let scale = teacher
        .f_square()?
        .f_mean(Kind::Float)?
        .f_add_scalar(1e-6)?;
    let apart = student.f_sub(&teacher)?.f_square()?.f_mean(Kind::Float)?;
    Ok(apart.f_div(&scale)?)
}
