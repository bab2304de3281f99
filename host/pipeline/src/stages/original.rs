//! The training of a network that is not given trained. What follows then prunes it as any other.

use latency::Model;
use serde::{Deserialize, Serialize};
use train::{Completion, TrainJob, initialise, train_plain};

use crate::error::PipelineError;
use crate::folder::ORIGINAL;
use crate::job::Kind;
use crate::model::read_model_file;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::stages::together;
use crate::stages::train::TRAIN;
use crate::start;
use crate::work::{Opening, Work};

/// A finished training.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct TrainedOriginal {
    /// The network, BatchNorm kept, inside the run folder.
    pub file: String,
    pub seconds: f64,
}

pub(crate) const TRAINED: Key<TrainedOriginal> = Key::new("original");

pub(crate) const FILE: &str = "train/original.onnx";
const CHECKPOINT: &str = "train/original.safetensors";

/// Takes up the network that an earlier call trained.
pub(crate) fn restore(
    opening: &mut Opening<'_>,
    prepared: &mut Prepared,
) -> Result<(), PipelineError> {
    if prepared.model.trained {
        return Ok(());
    }
    if let Some(trained) = opening.records.get(&TRAINED)? {
        let graph = read_model_file(&opening.folder.path(&trained.file))?;
        return prepared.take_trained(graph, opening.config);
    }
    if opening.records.get(&TRAIN)?.is_some() {
        return Err(PipelineError::EarlierRun {
            path: opening.folder.root().to_owned(),
        });
    }
    Ok(())
}

/// Trains the network to its end, unless it is trained.
pub(crate) fn run(work: &mut Work<'_>, prepared: &mut Prepared) -> Result<(), PipelineError> {
    if prepared.model.trained {
        return Ok(());
    }
    let started = std::time::Instant::now();
    work.folder.dir("train")?;
    let checkpoint = work.folder.path(CHECKPOINT);
    let seed = work.config.seed;
    let loader = prepared.training_loader(work.config.batch, seed)?;
    let settings = work.config.original.settings();
    let start = work.steadily(|| initialise(&prepared.graph, seed))?;
    let kind = Kind::Plain(settings.clone());
    let team = together::begin(work, prepared, kind, (&[&start], seed))?;
    let job = TrainJob {
        graph: &start,
        floats: None,
        task: &*prepared.task,
        loader: &loader,
        config: &settings,
        runtime: prepared.runtime,
        seed,
        team: team.as_deref(),
        checkpoint: Some(&checkpoint),
        identity: None,
    };
    let mut watch = work.watch("training of the original");
    let (graph, completion) = train_plain(&job, &mut watch)?;
    watch.finish();
    if completion == Completion::Stopped {
        return Err(PipelineError::Stopped);
    }
    let fail = |source| PipelineError::Model {
        model: prepared.model.name.clone(),
        source,
    };
    let written = work
        .folder
        .write(FILE, &onnx_graph::write(&graph).map_err(fail)?)?;
    let trained = TrainedOriginal {
        file: FILE.into(),
        seconds: started.elapsed().as_secs_f64(),
    };
    // Read back, so that this call and a resumed one continue with the same network.
    prepared.take_trained(read_model_file(&written)?, work.config)?;
    let original = prepared.deploy(&prepared.model.graph)?.bytes;
    work.folder.write(ORIGINAL, &original)?;
    work.records.finish(&TRAINED, &trained)?;
    work.session.set_reference(Model::new("original", original));
    start::tried(work, prepared)
}
