//! The network, the data, and the samples that are passed through it.

use datasets::{Dataset, Splits, Subset, unreadable};

use super::found::{BrokenFile, DataCheckRequest};
use crate::config::{ConfigError, ModelSource, TaskKind};
use crate::data::open_run;
use crate::error::PipelineError;
use crate::model::{LoadedModel, load_network};
use crate::task;

/// Samples that pass through the network at once.
pub(super) const BATCH: usize = 50;

/// The network, the data, and the training samples that can be read.
pub(super) struct Subject {
    pub model: LoadedModel,
    pub splits: Splits,
    pub kind: TaskKind,
    pub drawn: Subset,
    pub readable: Vec<usize>,
}

/// Opens network and data, draws samples, and finds those that cannot be read.
pub(super) fn read(
    request: &DataCheckRequest,
) -> Result<(Subject, Vec<BrokenFile>), PipelineError> {
    let config = &request.config;
    if let ModelSource::Zoo(name) = config.model.source() {
        let reason = format!("give an ONNX file: '{name}' of the zoo has no trained weights");
        return Err(ConfigError::value("model", reason).into());
    }
    let Some(spec) = &config.data else {
        return Err(ConfigError::value("data", "no data set is named").into());
    };
    let groups = config.groups.analysis();
    let model = load_network(&config.model, 0, [0; 3], config.seed, groups)?;
    model.check_open()?;
    model.accept_training(config.training_mode)?;
    let kind = task::kind(config, spec)?;
    let splits = open_run(config, spec, &model, kind)?;
    let count = match request.samples {
        0 => splits.train.len(),
        count => count,
    };
    let drawn = Subset::stratified(splits.train.clone(), count, config.seed, "checked")?;
    let failed = unreadable(&drawn);
    let readable = (0..drawn.len()).filter(|index| failed.iter().all(|(of, _)| of != index));
    let readable = readable.collect();
    let broken = failed.iter().map(|(index, error)| BrokenFile {
        name: match drawn.file(*index) {
            Some(path) => path.display().to_string(),
            None => format!("sample {}", drawn.indices()[*index]),
        },
        reason: error.to_string(),
    });
    let broken = broken.collect();
    let subject = Subject {
        model,
        splits,
        kind,
        drawn,
        readable,
    };
    Ok((subject, broken))
}
