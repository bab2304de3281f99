//! Figures over several worker processes.
//!
//! A process is as fast as its memory happens to be placed: the same network is a per cent or two
//! faster or slower in the next one, and more samples of one process do not show it. A figure to
//! rely on is therefore a mean over processes, with the interval of that mean. The processes
//! alternate between the two orders of loading, which cancels the advantage of either place.

mod allocation;
mod disturbed;
mod interval;
mod merge;

use std::time::{Duration, Instant};

use agent_protocol::{Evidence, Measurement, bounds};

pub use interval::{Logarithms, over_processes, student};

use crate::{LatencyError, MeasureRequest, Processes};
use merge::merged;

/// How much wider the interval within the first processes may be.
const PILOT: f64 = 2.0;

/// Measures in one process after another by `measure`, until every interval is narrow enough or
/// the most processes are done, and merges the results. While an interval is too wide to count,
/// `retries` times as many more may follow.
pub(crate) fn measure_over_processes(
    request: &MeasureRequest,
    retries: u32,
    mut measure: impl FnMut(&MeasureRequest) -> Result<Vec<Measurement>, LatencyError>,
) -> Result<Vec<Measurement>, LatencyError> {
    let Processes { fewest, most } = request.processes;
    // The noise within a process is divided by their number, so a process may stop early: its share
    // of the mean's interval is half of the target.
    let mut sampling = request.sampling.clone();
    let within = sampling.ci_target_rel * f64::from(fewest).sqrt() / 2.0;
    let within = within.clamp(sampling.ci_target_rel, sampling.ci_accept_rel);
    // The first ones only show which noise is the larger: that within them or that between them.
    let coarse = sampling.ci_accept_rel.max(within);
    sampling.ci_target_rel = (PILOT * within).min(coarse);
    let mut taken: Vec<Vec<Measurement>> = Vec::new();
    let mut elapsed: Vec<Duration> = Vec::new();
    let (fewest, most) = (fewest as usize, most as usize);
    let mut next_look = fewest;
    loop {
        let reversed = taken.len() % 2 == 1;
        let one = MeasureRequest {
            processes: Processes::ONE,
            sampling: sampling.clone(),
            reversed,
            // Peak memory and providers do not differ from process to process.
            evidence: if taken.is_empty() {
                request.evidence
            } else {
                Evidence::Quick
            },
            ..request.clone()
        };
        let clock = Instant::now();
        taken.push(measure(&one)?);
        elapsed.push(clock.elapsed());
        if taken.len() >= allocation::FEWEST {
            let precise = allocation::precision(&taken, &elapsed).unwrap_or(within);
            sampling.ci_target_rel = precise.clamp(within, coarse);
        }
        let done = taken.len();
        if done < next_look {
            continue;
        }
        let results = merged(request, &taken)?;
        let is_enough = results.iter().all(|result| result.is_enough);
        let are_valid = results.iter().all(|result| result.measurement.is_valid());
        let have_fewest = results.iter().all(|result| result.has_fewest);
        // A model without a figure in any process will have none in the next.
        let is_hopeless = results.iter().any(|result| result.is_without_figures);
        // A device that is busy all the time would not be quieter later.
        let is_busy = are_valid && !have_fewest && done >= 2 * fewest;
        // Rare processes far from the others make an interval over few of them useless. Over all
        // of several attempts it is narrower, and no attempt is chosen for its luck.
        let is_too_wide = results.iter().any(|result| result.is_too_wide);
        let attempts = if is_too_wide { 1 + retries as usize } else { 1 };
        let last = attempts
            .saturating_mul(most.max(fewest))
            .min(bounds::MAX_PROCESSES);
        if is_enough || is_busy || is_hopeless || done >= last {
            return Ok(results
                .into_iter()
                .map(|result| result.measurement)
                .collect());
        }
        // Each look at the interval is a chance to stop while it is too narrow by luck.
        next_look = done + if have_fewest { fewest.div_ceil(2) } else { 1 };
        next_look = next_look.min(bounds::MAX_PROCESSES);
        tracing::debug!(done, most, "further processes for a narrower interval");
    }
}

#[cfg(test)]
mod tests;
