//! Reading the network and its data.

use std::path::Path;

use datasets::{InputSpec, Splits};
use onnx_graph::Graph;

use super::request::{PackData, PackRequest};
use crate::error::PipelineError;
use crate::model::{LoadedModel, load_model, read_spec, refuse_training};
use crate::prepare::data_doubts;
use crate::progress::Reporter;

/// A network, and its data if they are given.
pub(super) struct Opened {
    pub name: String,
    /// As it is in the file.
    pub graph: Graph,
    pub classifier: Option<Classifier>,
}

/// The network as a classifier of images.
pub(super) struct Classifier {
    /// With an open batch.
    pub graph: Graph,
    pub splits: Splits,
}

pub(super) fn open(
    request: &PackRequest,
    reporter: &mut dyn Reporter,
) -> Result<Opened, PipelineError> {
    let spec = &request.model;
    // What is packed must not depend on data, and opening a batch changes more than its size.
    let graph = read_spec(spec)?;
    let name = Path::new(spec.name()).file_stem();
    let name = name.map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    refuse_training(&graph, &name)?;
    let classifier = match &request.data {
        None => None,
        Some(data) => {
            let model = load_model(spec, 0, [0; 3], request.seed, Default::default())?;
            Some(Classifier {
                splits: read_data(data, &model, reporter)?,
                graph: model.graph,
            })
        }
    };
    Ok(Opened {
        name,
        graph,
        classifier,
    })
}

fn read_data(
    data: &PackData,
    model: &LoadedModel,
    reporter: &mut dyn Reporter,
) -> Result<Splits, PipelineError> {
    let preset = data.normalise.as_deref();
    let preset = preset.unwrap_or_else(|| data.spec.default_preset());
    let input = InputSpec::preset(preset, model.input)?;
    let splits = datasets::open_with(&data.spec, &input, data.allow_skipped)?;
    let classes = splits.train.classes().len();
    if classes != model.classes {
        return Err(PipelineError::UnfitModel {
            model: model.name.clone(),
            reason: format!(
                "has {} outputs, the data has {classes} classes",
                model.classes
            ),
        });
    }
    for line in data_doubts(&splits.notes) {
        reporter.warn(&line);
    }
    Ok(splits)
}
