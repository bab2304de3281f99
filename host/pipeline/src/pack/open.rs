//! Reading the network and its data.

use std::path::Path;

use datasets::{Augment, Splits};
use onnx_graph::{Graph, GraphError, InputSize, NoExternalData, read_sized};

use super::request::PackRequest;
use crate::error::PipelineError;
use crate::model::{load_model, read_spec, refuse_training};
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
    /// What suits the data.
    pub augment: Augment,
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
                splits: data.open_for(&model, reporter)?,
                augment: data.spec.default_augment(),
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

/// The network of an unpacked file.
pub(super) fn read_again(file: Vec<u8>, sizes: &[InputSize]) -> Result<Graph, GraphError> {
    let mut graph = read_sized(file, &NoExternalData, sizes)?;
    graph.infer_shapes()?;
    Ok(graph)
}
