//! What a network loses with the units of each group, where libtorch does not run it: measured on
//! the device, by the network that lacks the less important half of one group.

use channels::{PrunePlan, Scores, apply, cut};

use crate::error::PipelineError;
use crate::prepare::Prepared;
use crate::stages::repair::repairer;
use crate::work::Work;

/// Samples that the networks are compared on: many networks are.
const SAMPLES: usize = 32;

/// What counts for a network that computes no numbers without half of a group.
const LOST: f64 = 1e9;

/// Per group and unit, what the network loses. What is measured for half of a group is shared out
/// in proportion to `shapes`, which order the units.
pub(crate) fn losses(
    work: &mut Work<'_>,
    prepared: &Prepared,
    order: &[Vec<usize>],
    shapes: &Scores,
) -> Result<Scores, PipelineError> {
    let mut losses = Scores { groups: Vec::new() };
    let Some(partial) = &prepared.partial else {
        return Ok(losses);
    };
    let clock = std::time::Instant::now();
    let repairer = repairer(work, prepared)?;
    let train = &prepared.splits.train;
    let count = SAMPLES.min(work.config.importance.images);
    let samples = (train, count, work.config.seed);
    let (original, task) = (&prepared.model.graph, &prepared.task);
    let scorer = partial.scorer(&mut work.session, original, task, samples)?;
    let analysis = &prepared.analysis;
    let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    work.reporter.begin("importance", 0, full.len() as u64);
    for (group, (order_of, shape)) in order.iter().zip(&shapes.groups).enumerate() {
        if work.stop.is_set() {
            return Err(PipelineError::Stopped);
        }
        let half = full[group].div_ceil(2);
        let mut widths = full.clone();
        widths[group] = half;
        let plan = PrunePlan::from_widths(analysis, order, &widths)?;
        let graph = match &repairer {
            Some(repairer) => work.steadily(|| repairer.repair_plan(&plan)?.graph())?,
            None => apply(&prepared.graph, &cut(&prepared.graph, analysis, &plan)?)?,
        };
        let given = partial.score(&mut work.session, &scorer, &graph)?;
        let measured = match given.distance.is_finite() {
            true => given.distance,
            false => LOST,
        };
        losses
            .groups
            .push(shared(measured, &order_of[half..], shape));
        let line = format!("{}: {measured:.4}", analysis.groups()[group].name);
        work.reporter.step(group as u64 + 1, &line);
    }
    work.reporter.end(&format!(
        "importance: {} groups measured on {count} samples in {:.1} s",
        full.len(),
        clock.elapsed().as_secs_f64()
    ));
    Ok(losses)
}

/// A loss that was measured without the units `dropped`, as one of each unit in proportion to its
/// score.
fn shared(measured: f64, dropped: &[usize], shape: &[f64]) -> Vec<f64> {
    let sum: f64 = dropped.iter().map(|&unit| shape[unit]).sum();
    match sum > 0.0 && sum.is_finite() {
        true => shape.iter().map(|score| measured * score / sum).collect(),
        false => vec![measured / dropped.len().max(1) as f64; shape.len()],
    }
}

#[cfg(test)]
mod tests {
    use super::shared;

    #[test]
    fn the_units_that_were_dropped_lose_together_what_was_measured() {
        let check = |shape: &[f64], dropped: &[usize], expected: &[f64]| {
            let losses = shared(6.0, dropped, shape);
            assert_eq!(losses, expected);
            let sum: f64 = dropped.iter().map(|&unit| losses[unit]).sum();
            assert!(dropped.is_empty() || (sum - 6.0).abs() < 1e-12, "{sum}");
        };
        check(&[3.0, 1.0, 8.0, 2.0], &[1, 3], &[6.0, 2.0, 16.0, 4.0]);
        check(&[0.0, 0.0, 5.0], &[0, 1], &[3.0, 3.0, 3.0]);
        check(&[2.0], &[], &[6.0]);
    }
}
