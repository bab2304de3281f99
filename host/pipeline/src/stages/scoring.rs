//! What scores the networks of a run: its task in libtorch, or its task on what the device computes
//! where libtorch does not run them.

use std::sync::Arc;

use onnx_graph::Graph;
use train::{Calibration, Evaluator, GivenScorer};

use crate::error::PipelineError;
use crate::job::Split;
use crate::partial::Partial;
use crate::prepare::{NormOrigin, Prepared};
use crate::stages::together;
use crate::work::Work;

/// A scorer of networks on the search split.
pub(crate) enum Scoring {
    /// In libtorch.
    Here(Box<Evaluator>),
    /// By what the device computes.
    OnDevice(Box<(Partial, GivenScorer)>),
}

impl Scoring {
    /// The scorer of a run.
    pub fn new(work: &mut Work<'_>, prepared: &Prepared) -> Result<Self, PipelineError> {
        let Some(partial) = &prepared.partial else {
            return Ok(Self::Here(Box::new(evaluator(work, prepared)?)));
        };
        let search = &prepared.splits.search;
        let count = match work.config.evaluate.search_images {
            0 => search.len(),
            count => count,
        };
        let samples = (search, count, work.config.evaluate.seed);
        let (original, task) = (&prepared.model.graph, &prepared.task);
        let scorer = partial.scorer(&mut work.session, original, task, samples)?;
        Ok(Self::OnDevice(Box::new((partial.clone(), scorer))))
    }

    /// The training images for statistics of batch normalisations, where networks run here.
    pub fn calibration(&self) -> Option<&Calibration> {
        match self {
            Self::Here(evaluator) => Some(evaluator.calibration()),
            Self::OnDevice(_) => None,
        }
    }

    /// The score of any network of the run, with its own weights, on all of the search split or on
    /// what the device is given of it.
    pub fn of(
        &self,
        work: &mut Work<'_>,
        prepared: &Prepared,
        graph: &Graph,
    ) -> Result<train::Score, PipelineError> {
        match self {
            Self::Here(_) => together::score(work, prepared, Split::Search, graph),
            Self::OnDevice(on_device) => {
                let (partial, scorer) = &**on_device;
                Ok(partial.score(&mut work.session, scorer, graph)?.score)
            }
        }
    }
}

/// The score of a network on the test split.
pub(crate) fn on_test_split(
    work: &mut Work<'_>,
    prepared: &Prepared,
    graph: &Graph,
) -> Result<train::Score, PipelineError> {
    let Some(partial) = &prepared.partial else {
        return together::score(work, prepared, Split::Test, graph);
    };
    let test = &prepared.splits.test;
    let (original, task) = (&prepared.model.graph, &prepared.task);
    let samples = (test, test.len(), work.config.seed);
    let scorer = partial.scorer(&mut work.session, original, task, samples)?;
    Ok(partial.score(&mut work.session, &scorer, graph)?.score)
}

/// The evaluator of candidates in libtorch.
fn evaluator(work: &Work<'_>, prepared: &Prepared) -> Result<Evaluator, PipelineError> {
    let data = (
        prepared.splits.train.as_ref(),
        prepared.splits.search.as_ref(),
    );
    let (config, runtime) = (&prepared.fits.evaluate, prepared.runtime);
    let (task, prunable) = (Arc::clone(&prepared.task), prepared.prunable());
    let team = work.crew.as_ref().map(|crew| crew.team());
    let mut evaluator = Evaluator::for_team(prunable, data, task, config, (runtime, team))?;
    if prepared.norms == NormOrigin::All {
        work.steadily(|| evaluator.anchor())?;
    }
    if together::compares(work.config, prepared) {
        work.steadily(|| evaluator.remember_original(runtime))?;
    }
    Ok(evaluator)
}
