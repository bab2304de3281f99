//! The order in which each group's units are dropped, and what the network loses at each width.

use channels::{Importance, Magnitude, Scores};
use search::Space;
use serde::{Deserialize, Serialize};
use train::{GroupFisher, MaskedLoss, StructuredObs, Taylor, draw_batches};

use crate::config::{Criterion, StrategyKind};
use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::records::Key;
use crate::stages::sensitivity;
use crate::stages::train::TRAIN;
use crate::work::Work;

/// The importance that a run goes by.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Recorded {
    /// Per group its units, most important first.
    order: Vec<Vec<usize>>,
    /// What the network loses with each unit, comparable across groups; absent where no strategy
    /// needs it.
    losses: Option<Scores>,
}

pub(crate) const IMPORTANCE: Key<Recorded> = Key::new("importance");

/// Settles the order of the units, and the losses where a strategy weighs them.
pub(crate) fn run(work: &mut Work<'_>, prepared: &mut Prepared) -> Result<(), PipelineError> {
    let recorded = work.records.get(&IMPORTANCE)?;
    // Runs of versions without this stage ordered units by magnitude.
    let is_earlier = recorded.is_none() && work.records.get(&TRAIN)?.is_some();
    let recorded = match recorded {
        Some(recorded) => recorded,
        None => {
            let recorded = estimated(work, prepared, is_earlier)?;
            work.records.finish(&IMPORTANCE, &recorded)?;
            recorded
        }
    };
    prepared.order = recorded.order;
    prepared.losses = recorded.losses;
    Ok(())
}

fn estimated(
    work: &mut Work<'_>,
    prepared: &Prepared,
    is_earlier: bool,
) -> Result<Recorded, PipelineError> {
    let config = &work.config.importance;
    let (graph, analysis) = (&prepared.graph, &prepared.analysis);
    let by = if is_earlier {
        Criterion::Magnitude
    } else {
        config.criterion
    };
    let result = &work.config.result;
    let kinds = std::iter::once(work.config.strategy()).chain(result.baselines.iter().copied());
    let weighs = kinds.clone().any(StrategyKind::weighs_losses) || work.config.search.seeded;
    let weighs = weighs && !is_earlier;
    if by == Criterion::Magnitude && !weighs {
        return Ok(Recorded {
            order: prepared.order.clone(),
            losses: None,
        });
    }
    if prepared.partial.is_some() {
        return on_device(work, prepared, weighs);
    }
    let (data, device) = (prepared.splits.train.as_ref(), prepared.exact.device);
    let seed = work.config.seed;
    let batches = draw_batches(data, graph, config.images, seed, device)?;
    let fisher = GroupFisher {
        task: &*prepared.task,
        batches: &batches,
        loss: MaskedLoss::GaussNewton,
        projections: config.projections,
        seed,
    };
    let clock = std::time::Instant::now();
    let recorded = work.steadily(|| {
        let losses = if weighs || by == Criterion::Fisher {
            Some(fisher.scores(graph, analysis)?)
        } else {
            None
        };
        let order = match (by, &losses) {
            (Criterion::Fisher, Some(losses)) => losses.order(),
            (Criterion::Taylor, _) => {
                let taylor = Taylor {
                    task: &*prepared.task,
                    batches: &batches,
                };
                taylor.scores(graph, analysis)?.order()
            }
            (Criterion::Obs, _) => {
                let obs = StructuredObs::new(&batches, seed);
                obs.scores(graph, analysis)?.order()
            }
            _ => prepared.order.clone(),
        };
        Ok::<_, train::TrainError>(Recorded { order, losses })
    })?;
    work.reporter.note(&format!(
        "importance ({}): estimated on {} images in {:.1} s",
        by.name(),
        batches
            .iter()
            .map(|(images, _)| images.size()[0])
            .sum::<i64>(),
        clock.elapsed().as_secs_f64()
    ));
    Ok(recorded)
}

/// The importance of a network that libtorch does not run: the order by the part that it runs, the
/// losses by what the device computes.
fn on_device(
    work: &mut Work<'_>,
    prepared: &Prepared,
    weighs: bool,
) -> Result<Recorded, PipelineError> {
    let (graph, analysis) = (&prepared.graph, &prepared.analysis);
    let settings = &work.config.importance;
    let runs = prepared.partial.as_ref().is_some_and(|of| of.is_repaired);
    let scores = match settings.criterion == Criterion::Obs && runs {
        true => {
            let (data, device) = (prepared.splits.train.as_ref(), prepared.exact.device);
            let seed = work.config.seed;
            let batches = draw_batches(data, graph, settings.images, seed, device)?;
            work.steadily(|| StructuredObs::new(&batches, seed).scores(graph, analysis))?
        }
        false => {
            let Ok(scores) = Magnitude.scores(graph, analysis);
            scores
        }
    };
    let order = scores.order();
    let losses = match weighs {
        true => Some(sensitivity::losses(work, prepared, &order, &scores)?),
        false => None,
    };
    Ok(Recorded { order, losses })
}

/// What the network loses at each option of each axis of the space: the losses of the units that
/// a width drops, and those of integers.
pub(crate) fn losses_by_width(
    losses: &Scores,
    prepared: &Prepared,
    space: &Space,
) -> Vec<Vec<f64>> {
    let groups = space.groups.iter().zip(&prepared.order).zip(&losses.groups);
    let parts = prepared.open.as_ref().map(|open| open.parts.losses());
    let groups = groups.map(|((group, order), losses)| {
        let dropped = |&width: &usize| order[width..].iter().map(|&unit| losses[unit]).sum();
        group.widths.iter().map(dropped).collect()
    });
    groups.chain(parts.into_iter().flatten()).collect()
}
