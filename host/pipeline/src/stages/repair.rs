//! Which runs repair cuts, and whether they need a Graph PruningNet at all.

use train::Repairer;

use crate::config::{EvaluationWeights, RunConfig, StrategyKind, WeightOrigin};
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::work::Work;

/// Whether candidates are evaluated with repaired weights.
pub(crate) fn evaluates(config: &RunConfig) -> bool {
    config.evaluation_weights() == EvaluationWeights::Repaired
}

/// The repairer of a run that evaluates or fine-tunes repaired networks.
pub(crate) fn repairer(
    work: &Work<'_>,
    prepared: &Prepared,
) -> Result<Option<Repairer>, PipelineError> {
    let config = work.config;
    let repairs = config.weight_origin() == WeightOrigin::Repaired || evaluates(config);
    let runs = prepared.partial.as_ref().is_none_or(|of| of.is_repaired);
    if !repairs || !runs {
        return Ok(None);
    }
    let (train, settings) = (prepared.splits.train.as_ref(), &config.repair);
    let repairer =
        work.steadily(|| Repairer::new(prepared.prunable(), train, settings, prepared.exact))?;
    Ok(Some(repairer))
}

/// Whether anything of a run comes out of the joint training: weights of candidates or results, or
/// the states of the reinforcement learning.
pub(crate) fn needs_joint_training(config: &RunConfig) -> bool {
    let mut strategies =
        std::iter::once(config.strategy()).chain(config.result.baselines.iter().copied());
    !evaluates(config)
        || config.weight_origin() == WeightOrigin::Generated
        || strategies.any(StrategyKind::reads_embeddings)
}
