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
    /// With an open batch if there are data.
    pub graph: Graph,
    /// The batch of the file, where the graph's was opened.
    pub batch: Option<usize>,
    pub splits: Option<Splits>,
}

pub(super) fn open(
    request: &PackRequest,
    reporter: &mut dyn Reporter,
) -> Result<Opened, PipelineError> {
    let spec = &request.model;
    let opened = match &request.data {
        // Any network can be packed; only data need a classifier of images.
        None => Opened {
            name: Path::new(spec.name())
                .file_stem()
                .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
            graph: read_spec(spec)?,
            batch: None,
            splits: None,
        },
        Some(data) => {
            let model = load_model(spec, 0, [0; 3], request.seed, Default::default())?;
            let splits = read_data(data, &model, reporter)?;
            Opened {
                name: model.name,
                graph: model.graph,
                batch: model.batch,
                splits: Some(splits),
            }
        }
    };
    refuse_training(&opened.graph, &opened.name)?;
    Ok(opened)
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
