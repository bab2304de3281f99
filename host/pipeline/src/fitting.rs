//! How samples pass through the network of a run: how many at once, and how they are changed.

use datasets::{Augment, DataSpec};
use train::{EvaluatorConfig, images_of_a_backward_pass};

use crate::config::{ConfigError, RunConfig, TaskKind};
use crate::model::LoadedModel;

/// How many samples pass through a network at once.
#[derive(Debug, Clone)]
pub(crate) struct Fitting {
    /// Of a training batch.
    pub batch: usize,
    /// Of an evaluation.
    pub evaluation: usize,
    /// The evaluation of candidates.
    pub evaluate: EvaluatorConfig,
}

impl Fitting {
    /// As configured; for samples other than a classifier's images as many as fit into memory.
    pub fn new(config: &RunConfig, model: &LoadedModel, kind: TaskKind) -> Self {
        let mut evaluate = config.evaluate.clone();
        let (mut batch, mut evaluation) = (config.batch, 250);
        if kind != TaskKind::Classification {
            let most = images_of_a_backward_pass(&model.graph);
            let images = evaluate.calibration_batches * evaluate.calibration_batch;
            (batch, evaluation) = (batch.min(most), evaluation.min(2 * most));
            evaluate.batch = evaluate.batch.min(2 * most);
            if evaluate.calibration_batch > 2 * most {
                evaluate.calibration_batch = 2 * most;
                evaluate.calibration_batches = images.div_ceil(2 * most).min(MOST_CALIBRATIONS);
            }
        }
        Self {
            batch,
            evaluation,
            evaluate,
        }
    }
}

/// The most batches for the statistics of batch normalisations where few samples fit into one: each
/// costs a pass through every candidate.
const MOST_CALIBRATIONS: usize = 16;

/// The random changes to training images.
pub(crate) fn augmentation(
    config: &RunConfig,
    spec: &DataSpec,
    kind: TaskKind,
) -> Result<Augment, ConfigError> {
    let changes_target = matches!(kind, TaskKind::Segmentation | TaskKind::Regression);
    match &config.augment {
        Some(augment) if changes_target && *augment != Augment::none() => {
            let reason = format!(
                "changes images and not what they are compared with; the task {} takes none",
                kind.name()
            );
            Err(ConfigError::value("augment", reason))
        }
        Some(augment) => Ok(augment.clone()),
        None if changes_target => Ok(Augment::none()),
        None => Ok(spec.default_augment()),
    }
}
