//! The task of a run, and what of a run needs which task.

use std::sync::Arc;

use datasets::{DataSpec, Dataset, Targets, TensorSpec, has_classes};
use onnx_graph::{Dim, Graph};
use torch_exec::Stop;
use train::{
    Classification, Follow, Followed, MultiLabel, Regression, Runtime, Segmentation, Task,
    float_outputs,
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
    let needs = format!(
        "needs the task classification, and this run's is {}",
        kind.name()
    );
    check_without_net(config, &needs)?;
    if kind == TaskKind::Follow && config.importance.criterion == Criterion::Taylor {
        let reason = "`taylor` needs labels; take obs, fisher or magnitude";
        return Err(ConfigError::value("importance.criterion", reason));
    }
    Ok(())
}

/// Refuses settings that need a network that libtorch runs.
pub(crate) fn check_untrained(config: &RunConfig, stop: &Stop) -> Result<(), ConfigError> {
    let needs = format!("needs a network that libtorch runs, and it does not run {stop}");
    check_without_net(config, &needs)?;
    let criterion = config.importance.criterion;
    let refused = [
        (
            config.weight_origin() == WeightOrigin::Scratch,
            "result.weights",
            "`scratch`",
        ),
        (
            matches!(criterion, Criterion::Taylor | Criterion::Fisher),
            "importance.criterion",
            criterion.name(),
        ),
        (config.qat.epochs > 0, "qat.epochs", "training in integers"),
    ];
    match refused.into_iter().find(|(holds, ..)| *holds) {
        Some((_, key, what)) => Err(ConfigError::value(key, format!("{what} {needs}"))),
        None => Ok(()),
    }
}

/// Refuses what needs a Graph PruningNet or the gradients of a classifier, for this reason.
fn check_without_net(config: &RunConfig, needs: &str) -> Result<(), ConfigError> {
    let refuse = |key: &'static str, what: &str| {
        let reason = format!("{what} {needs}");
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
    let graph = &model.graph;
    let mut follow = |outputs: &[Followed]| {
        let samples = (SAMPLES, config.seed);
        Follow::new(graph, outputs, train, samples, runtime).map_err(PipelineError::from)
    };
    settled_by(config, graph, kind, train, &mut follow)
}

/// Samples that the spread of outputs is taken from.
pub(crate) const SAMPLES: usize = 256;

/// As [`settled`], where `follow` settles the task without labels.
pub(crate) fn settled_by(
    config: &RunConfig,
    graph: &Graph,
    kind: TaskKind,
    train: &dyn Dataset,
    follow: &mut dyn FnMut(&[Followed]) -> Result<Follow, PipelineError>,
) -> Result<(Arc<dyn Task>, Option<String>), PipelineError> {
    Ok(match kind {
        TaskKind::Classification => (Arc::new(Classification), None),
        TaskKind::Segmentation => (Arc::new(segmentation(config, graph)?), None),
        TaskKind::MultiLabel => (Arc::new(MultiLabel::new(train)?), None),
        TaskKind::Regression => (Arc::new(Regression::new(train)?), None),
        TaskKind::Follow => {
            let task = follow(&config.task.followed())?;
            let hint = hint(config, graph, &task).unwrap_or_default();
            let line = format!("follows the original's outputs: {}{hint}", task.words());
            (Arc::new(task), Some(line))
        }
    })
}

/// How to follow decisions, where the only values are a vector for each sample: they may be the
/// scores of classes, which the file does not tell.
fn hint(config: &RunConfig, graph: &Graph, task: &Follow) -> Option<String> {
    let mut values = task.as_values();
    let (Some(name), None) = (values.next(), values.next()) else {
        return None;
    };
    let mut outputs = graph.outputs().iter().copied();
    let output = outputs.find(|id| graph.value(*id).name == name)?;
    let shape = graph.sample_shape(output)?;
    let is_vector = matches!(shape[..], [Dim::Known(2..)]);
    (is_vector && config.task.outputs.is_empty()).then(|| {
        format!(
            "; if these are scores of classes, `--output {name}=classes` follows the decisions and keeps more of them"
        )
    })
}
