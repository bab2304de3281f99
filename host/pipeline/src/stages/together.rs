//! Trainings and measurements that the other processes of a run share.

use std::rc::Rc;

use collective::Team;
use onnx_graph::Graph;
use train::{Evaluator, Score};

use crate::config::{self, RunConfig};
use crate::error::PipelineError;
use crate::job::{Job, Kind, Scored, Split};
use crate::prepare::Prepared;
use crate::work::Work;

/// Lets the other processes of the run, if there are any, begin a job with `networks`, and returns
/// them.
pub(crate) fn begin(
    work: &Work<'_>,
    prepared: &Prepared,
    kind: Kind,
    (networks, seed): (&[&Graph], u64),
) -> Result<Option<Rc<Team>>, PipelineError> {
    let Some(crew) = &work.crew else {
        return Ok(None);
    };
    let file = |graph: &Graph| {
        onnx_graph::write(graph).map_err(|source| PipelineError::Model {
            model: prepared.model.name.clone(),
            source,
        })
    };
    let all = std::iter::once(&prepared.model.graph).chain(networks.iter().copied());
    let loader = prepared.training_loader(work.config.batch, seed)?;
    let job = Job {
        config: work.config.annotated()?,
        data: loader.dataset().identity(),
        loader: loader.config().clone(),
        options: prepared.runtime.options,
        seed: work.config.seed,
        kind,
        networks: all.map(file).collect::<Result<_, _>>()?,
    };
    crew.begin(job).map(Some)
}

/// The score of a network on all of a split, in full precision.
pub(crate) fn score(
    work: &Work<'_>,
    prepared: &Prepared,
    split: Split,
    graph: &Graph,
) -> Result<Score, PipelineError> {
    let data = match split {
        Split::Search => prepared.splits.search.as_ref(),
        Split::Test => prepared.splits.test.as_ref(),
    };
    let batch = prepared.fits.evaluation;
    let kind = Kind::Score(Scored {
        split,
        identity: data.identity(),
        batch,
        drawn: None,
        compares: false,
        is_exact: true,
    });
    let team = begin(work, prepared, kind, (&[graph], work.config.seed))?;
    let (subject, runtime) = (prepared.subject(graph), prepared.exact);
    let score = train::score_together(subject, data, batch, runtime, team.as_deref())?;
    Ok(score)
}

/// The score of a candidate on the samples drawn for the search, with the other processes, each of
/// which has its part of the samples in memory.
pub(crate) fn score_drawn(
    work: &Work<'_>,
    prepared: &Prepared,
    evaluator: &Evaluator,
    (graph, is_exact): (&Graph, bool),
) -> Result<Score, PipelineError> {
    let config = &prepared.fits.evaluate;
    let kind = Kind::Score(Scored {
        split: Split::Search,
        identity: prepared.splits.search.identity(),
        batch: config.batch,
        drawn: Some(config.clone()),
        compares: compares(work.config, prepared),
        is_exact,
    });
    begin(work, prepared, kind, (&[graph], work.config.seed))?;
    let runtime = match is_exact {
        true => prepared.exact,
        false => prepared.runtime,
    };
    Ok(evaluator.accuracy_of_graph(graph, runtime)?)
}

/// Whether the search compares candidates with what the original gives.
pub(crate) fn compares(config: &RunConfig, prepared: &Prepared) -> bool {
    config.search.score == config::Score::Kl || prepared.task.follows_original()
}
