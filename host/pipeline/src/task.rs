//! The task of a run, and what of a run needs which task.

use std::sync::Arc;

use datasets::{DataSpec, Dataset, Targets, TensorSpec, has_classes};
use onnx_graph::Graph;
use train::{
    Classification, Follow, MultiLabel, Regression, Runtime, Segmentation, Task, float_outputs,
};

use crate::config::{
    ConfigError, Criterion, EvaluationWeights, ModelSource, PrecisionChoice, RunConfig, Score,
    TaskKind, WeightOrigin,
};
use crate::error::PipelineError;
use crate::model::{LoadedModel, tensor_spec};

/// The task that a run has: the configured one, or what the data allow.
pub(crate) fn kind(config: &RunConfig, spec: &DataSpec) -> Result<TaskKind, PipelineError> {
    let kind = match config.task.kind {
        Some(kind) => kind,
        None if has_classes(spec)? => TaskKind::Classification,
        None => TaskKind::Follow,
    };
    check(config, kind)?;
    Ok(kind)
}

/// Refuses settings that only a classifier has.
fn check(config: &RunConfig, kind: TaskKind) -> Result<(), ConfigError> {
    if kind == TaskKind::Classification {
        return Ok(());
    }
    let name = kind.name();
    let refuse = |key: &'static str, what: &str| {
        let reason = format!("{what} needs the task classification, and this run's is {name}");
        Err(ConfigError::value(key, reason))
    };
    if let ModelSource::Zoo(_) = config.model.source() {
        return refuse("model", "a network that the run trains");
    }
    let mut kinds =
        std::iter::once(config.strategy()).chain(config.result.baselines.iter().copied());
    if let Some(kind) = kinds.find(|kind| kind.reads_embeddings() || kind.reads_proposals()) {
        return refuse("search.strategy", &format!("`{}`", kind.name()));
    }
    if config.evaluation_weights() == EvaluationWeights::Generated {
        return refuse("search.weights", "`generated`");
    }
    if config.weight_origin() == WeightOrigin::Generated {
        return refuse("result.weights", "`generated`");
    }
    if config.precision == PrecisionChoice::Joint {
        return refuse("precision", "`joint`");
    }
    if config.search.score == Score::Kl {
        return refuse("search.score", "`kl`");
    }
    if kind == TaskKind::Follow && config.importance.criterion == Criterion::Taylor {
        let reason = "`taylor` needs labels; take obs, fisher or magnitude";
        return Err(ConfigError::value("importance.criterion", reason));
    }
    Ok(())
}

/// What is read of the data besides the inputs.
pub(crate) fn targets(
    config: &RunConfig,
    model: &LoadedModel,
    kind: TaskKind,
) -> Result<Targets, PipelineError> {
    Ok(match kind {
        TaskKind::Classification => Targets::Class,
        TaskKind::Follow => Targets::None,
        TaskKind::Regression | TaskKind::MultiLabel => {
            let outputs = float_outputs(&model.graph);
            let outputs = outputs.iter().map(|&id| tensor_spec(&model.graph, id));
            let outputs: Option<Vec<TensorSpec>> = outputs.collect();
            Targets::Values(outputs.ok_or_else(|| PipelineError::UnfitModel {
                model: model.name.clone(),
                reason: "it leaves sizes of its outputs open; fix those of its inputs with --input-size"
                    .into(),
            })?)
        }
        TaskKind::Segmentation => {
            let task = segmentation(config, &model.graph)?;
            Targets::Mask {
                dims: task.positions(&model.graph)?,
                classes: task.classes(),
                output: task.output().to_owned(),
            }
        }
    })
}

fn segmentation(config: &RunConfig, graph: &Graph) -> Result<Segmentation, PipelineError> {
    let named = config.task.outputs.first().map(|of| of.0.name.as_str());
    Ok(Segmentation::new(graph, named)?)
}

/// The task, settled on the training data; and a line on what it reads, where that is a choice.
pub(crate) fn settled(
    config: &RunConfig,
    model: &LoadedModel,
    kind: TaskKind,
    train: &dyn Dataset,
    runtime: Runtime,
) -> Result<(Arc<dyn Task>, Option<String>), PipelineError> {
    /// Samples that the spread of outputs is taken from.
    const SAMPLES: usize = 256;
    Ok(match kind {
        TaskKind::Classification => (Arc::new(Classification), None),
        TaskKind::Segmentation => (Arc::new(segmentation(config, &model.graph)?), None),
        TaskKind::MultiLabel => (Arc::new(MultiLabel::new(train)?), None),
        TaskKind::Regression => (Arc::new(Regression::new(train)?), None),
        TaskKind::Follow => {
            let outputs = config.task.followed();
            let samples = (SAMPLES, config.seed);
            let task = Follow::new(&model.graph, &outputs, train, samples, runtime)?;
            let line = format!("follows the original's outputs: {}", task.words());
            (Arc::new(task), Some(line))
        }
    })
}
