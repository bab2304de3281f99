//! Figures over several worker processes.
//!
//! A process is as fast as its memory happens to be placed: the same network is a per cent or two
//! faster or slower in the next one, and more samples of one process do not show it. A figure to
//! rely on is therefore a mean over processes, with the interval of that mean. The processes
//! alternate between the two orders of loading, which cancels the advantage of either place.

mod interval;
mod merge;

use agent_protocol::{Evidence, Measurement};

pub use interval::{Logarithms, over_processes, student};

use crate::{LatencyError, MeasureRequest};
use merge::merged;

/// The share of its sampling that a process may wait for a core before it is replaced.
const CONTENTION: f64 = 0.05;

/// How many worker processes a figure is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processes {
    /// The fewest.
    pub fewest: u32,
    /// The most, reached while the interval is wide or other processes use the device.
    pub most: u32,
}

impl Processes {
    /// One process: its interval shows only the noise within it, which is enough for screening.
    pub const ONE: Self = Self { fewest: 1, most: 1 };
    /// The fewest whose interval means anything.
    const LEAST: u32 = 3;
    /// The most for any effort.
    const MOST: u32 = 60;

    /// The processes of a figure with `effort` times the sampling of a search: eight for four
    /// times, and up to twice as many while the interval is too wide.
    ///
    /// Eight are rarely all of one kind where processes come in two, a fast and a slow one: the
    /// interval then holds the mean in 93 of 100 measurements, over five processes in 83.
    pub fn for_effort(effort: f64) -> Self {
        let fewest = (2.0 * effort).ceil().max(0.0) as u32;
        let fewest = fewest.clamp(Self::LEAST, Self::MOST / 2);
        Self {
            fewest,
            most: 2 * fewest,
        }
    }
}

impl Default for Processes {
    fn default() -> Self {
        Self::ONE
    }
}

/// Measures in one process after another by `measure`, until every interval is narrow enough or
/// the most processes are done, and merges the results.
pub(crate) fn measure_over_processes(
    request: &MeasureRequest,
    mut measure: impl FnMut(&MeasureRequest) -> Result<Vec<Measurement>, LatencyError>,
) -> Result<Vec<Measurement>, LatencyError> {
    let Processes { fewest, most } = request.processes;
    let mut taken: Vec<Vec<Measurement>> = Vec::new();
    loop {
        let reversed = taken.len() % 2 == 1;
        let one = MeasureRequest {
            processes: Processes::ONE,
            reversed,
            // Peak memory and providers do not differ from process to process.
            evidence: if taken.is_empty() {
                request.evidence
            } else {
                Evidence::Quick
            },
            ..request.clone()
        };
        taken.push(measure(&one)?);
        let done = taken.len();
        if done < fewest as usize {
            continue;
        }
        let results = merged(request, &taken)?;
        if done >= most.max(fewest) as usize || results.iter().all(|result| result.is_enough) {
            return Ok(results
                .into_iter()
                .map(|result| result.measurement)
                .collect());
        }
        tracing::debug!(done, most, "further processes for a narrower interval");
    }
}

#[cfg(test)]
mod tests;
