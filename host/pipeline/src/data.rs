//! Opening the data of a run: the images of a classifier, or samples for any inputs.

use datasets::{DataError, DataSpec, Notes, Preprocessing, Splits, Wanted, has_classes};

use crate::config::{RunConfig, TaskKind};
use crate::error::PipelineError;
use crate::model::LoadedModel;
use crate::progress::Reporter;

/// The images of a classifier.
#[derive(Debug, Clone)]
pub struct ClassifierData {
    /// The data set.
    pub spec: DataSpec,
    /// How images become the network's input.
    pub input: Preprocessing,
    /// Whether to go on if more than 1 % of a folder's image files are unusable.
    pub allow_skipped: bool,
}

impl ClassifierData {
    /// Opens the splits, for images of `shape` (channels, height, width).
    pub(crate) fn open(&self, shape: [usize; 3]) -> Result<Splits, DataError> {
        let input = self.input.input(self.spec.default_preset(), shape)?;
        datasets::open_with(&self.spec, &input, self.allow_skipped)
    }

    /// Opens the splits for a network, and reports what is doubtful about them.
    pub(crate) fn open_for(
        &self,
        model: &LoadedModel,
        reporter: &mut dyn Reporter,
    ) -> Result<Splits, PipelineError> {
        let splits = self.open(model.input)?;
        check_classes(model, &splits)?;
        for line in data_doubts(&splits.notes) {
            reporter.warn(&line);
        }
        Ok(splits)
    }
}

/// Opens the data of a run for a network and a task.
pub(crate) fn open_run(
    config: &RunConfig,
    spec: &DataSpec,
    model: &LoadedModel,
    kind: TaskKind,
) -> Result<Splits, PipelineError> {
    let by_class = spec.is_images_by_class() && has_classes(spec)?;
    if by_class && matches!(kind, TaskKind::Classification | TaskKind::Follow) {
        model.check_classifier()?;
        let data = ClassifierData {
            spec: spec.clone(),
            input: config.input.clone(),
            allow_skipped: config.allow_skipped,
        };
        let splits = data.open(model.input)?;
        if kind == TaskKind::Classification {
            check_classes(model, &splits)?;
        }
        return Ok(splits);
    }
    let wanted = Wanted {
        inputs: model.inputs.clone(),
        targets: crate::task::targets(config, model, kind)?,
        preprocessing: config.input.clone(),
        preset: spec.default_preset(),
    };
    Ok(datasets::open_samples(spec, &wanted)?)
}

/// Refuses data with another number of classes than the network has.
pub(crate) fn check_classes(model: &LoadedModel, splits: &Splits) -> Result<(), PipelineError> {
    let classes = splits.train.classes().len();
    if classes == model.classes {
        return Ok(());
    }
    Err(PipelineError::UnfitModel {
        model: model.name.clone(),
        reason: format!(
            "has {} outputs, the data has {classes} classes; give the data that the network was trained on",
            model.classes
        ),
    })
}

/// Warnings about the data, for the terminal and the report.
pub(crate) fn data_doubts(notes: &Notes) -> Vec<String> {
    let mut doubts = Vec::new();
    if notes.left_out() > 0 {
        doubts.push(format!(
            "{} of {} image files cannot be used and are left out: {}.",
            notes.left_out(),
            notes.files,
            notes.reasons()
        ));
    }
    doubts.extend(notes.warnings.iter().cloned());
    doubts
}
