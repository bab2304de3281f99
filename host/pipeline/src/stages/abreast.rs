//! Fine-tunings of several candidates side by side, where there are several processes: each trains
//! whole candidates, as it does alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use onnx_graph::Graph;
use train::{
    Completion, Feature, TeacherSetup, TrainJob, features, finetune_abreast, finetune_identity,
};

use crate::crew::Crew;
use crate::error::PipelineError;
use crate::job::Kind;
use crate::stages::attempt::{Attempt, Attempts};
use crate::stages::distillation::fitted;
use crate::stages::finetune::{self, Begun, Network, Purpose, Source};
use crate::stages::together;
use crate::work::Work;

/// Trains the networks that are not trained yet, if there is at least one for each process, and
/// returns their starts by label. Their checkpoints then are those of the end. Fewer networks are
/// left to be trained by all processes together, one after the other.
pub(crate) fn run(
    work: &mut Work<'_>,
    source: &Source<'_>,
    purpose: Purpose,
    networks: &[Network<'_>],
) -> Result<BTreeMap<String, Begun>, PipelineError> {
    let mut begun = BTreeMap::new();
    let ranks = work.crew.as_ref().map_or(1, |crew| Crew::size(crew));
    let is_ours = source.prepared.partial.is_none() && work.config.task.train_with.is_none();
    let mut open = Vec::new();
    for &network in networks {
        if work.records.get(&purpose.key(network.label))?.is_none() {
            open.push(network);
        }
    }
    if ranks < 2 || open.len() < ranks || !is_ours {
        return Ok(begun);
    }
    work.folder.dir(purpose.folder())?;
    for round in open.chunks(ranks) {
        let starts: Result<Vec<Begun>, PipelineError> = round
            .iter()
            .map(|&network| finetune::begin(work, source, network))
            .collect();
        let mut starts = starts?;
        let clock = Instant::now();
        let attempt = Attempts::of(work, source.prepared)?.first();
        train(work, source, (purpose, attempt), (round, &starts))?;
        let took = clock.elapsed().as_secs_f64();
        for start in &mut starts {
            start.seconds += took;
            start.attempt = Some(attempt);
        }
        let labels = round.iter().map(|network| network.label.to_owned());
        begun.extend(labels.zip(starts));
    }
    Ok(begun)
}

/// Trains one network on each process.
fn train(
    work: &mut Work<'_>,
    source: &Source<'_>,
    (purpose, attempt): (Purpose, Attempt),
    (networks, starts): (&[Network<'_>], &[Begun]),
) -> Result<(), PipelineError> {
    let prepared = source.prepared;
    let held = (prepared.fits.batch, work.config.batch);
    let settings = fitted(purpose.settings(work.config, attempt), held);
    let (seed, batch) = (work.config.seed, work.config.batch);
    let loader = prepared.training_loader(batch, seed.wrapping_add(1))?;
    let followed: Result<Vec<Vec<Feature>>, _> = starts
        .iter()
        .map(|of| features(&prepared.graph, &prepared.analysis, &of.plan))
        .collect();
    let followed = followed?;
    let jobs: Vec<(TrainJob<'_>, TeacherSetup<'_>)> = starts
        .iter()
        .zip(&followed)
        .map(|(of, features)| {
            let job = TrainJob {
                graph: &of.start,
                floats: None,
                task: &*prepared.task,
                loader: &loader,
                config: &settings,
                runtime: prepared.runtime,
                seed,
                team: None,
                checkpoint: None,
                identity: None,
            };
            let graph = source.teacher;
            (job, TeacherSetup { graph, features })
        })
        .collect();
    let identities = jobs
        .iter()
        .map(|(job, teacher)| finetune_identity(job, Some(*teacher)));
    let kind = Kind::Abreast {
        settings: settings.clone(),
        features: followed.clone(),
        identities: identities.collect(),
    };
    let graphs: Vec<&Graph> = starts.iter().map(|of| &of.start).collect();
    let team = together::begin(work, prepared, kind, (&graphs, seed.wrapping_add(1)))?;
    let (Some(team), Some((job, teacher))) = (team, jobs.first()) else {
        return Ok(());
    };
    let files: Vec<PathBuf> = networks
        .iter()
        .map(|network| work.folder.path(purpose.checkpoint(network.label, attempt)))
        .collect();
    let mut watch = work.watch(&format!(
        "{} of {} candidates side by side",
        purpose.words(),
        networks.len()
    ));
    let end = finetune_abreast(&team, Some((job, *teacher)), &files, &mut watch)?;
    watch.finish();
    match end {
        Completion::Stopped => Err(PipelineError::Stopped),
        Completion::Finished => Ok(()),
    }
}
