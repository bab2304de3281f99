//! Trainings that the other processes of a run share.

use std::rc::Rc;

use collective::Team;
use onnx_graph::Graph;

use crate::error::PipelineError;
use crate::job::{Job, Kind};
use crate::prepare::Prepared;
use crate::work::Work;

/// Lets the other processes of the run, if there are any, begin a training of `networks`, and
/// returns them.
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
    crew.begin(&job).map(Some)
}
