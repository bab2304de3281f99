//! Series of worker processes, the basis of a comparison.

use latency::{
    Evidence, LatencyError, LatencySource, MeasureRequest, Measurement, Model, Profile, Sampling,
    stats,
};
use serde::{Deserialize, Serialize};

use crate::compare::{Change, change};

/// Settings of a series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeriesConfig {
    /// The fewest processes.
    pub min_processes: usize,
    /// The most processes; reached while the interval stays wide.
    pub max_processes: usize,
    /// The largest relative change that is not a regression.
    pub threshold: f64,
}

impl Default for SeriesConfig {
    fn default() -> Self {
        Self {
            min_processes: 5,
            max_processes: 15,
            threshold: 0.03,
        }
    }
}

/// The measurement of one worker process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Block medians of the model, round by round, ns.
    pub rounds_ns: Vec<f64>,
    /// Those of the reference; empty without one.
    pub reference_rounds_ns: Vec<f64>,
    /// The latency: the median over rounds, ns.
    pub median_ns: f64,
    /// The ratio to the reference.
    pub ratio: Option<f64>,
    /// The device's pace, ns: the mean of the sentinel's times before and after.
    pub sentinel_ns: Option<f64>,
}

/// The series of a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The processes with a valid measurement.
    pub processes: Vec<Process>,
    /// All measurements, valid or not, including those of the reference.
    pub measurements: Vec<Measurement>,
    /// The reasons of the invalid ones.
    pub rejections: Vec<String>,
    /// Peak memory of a process of its own, bytes, where the device measures it.
    pub peak_memory_bytes: Option<u64>,
    /// That of the reference.
    pub reference_peak_memory_bytes: Option<u64>,
}

impl Series {
    /// Returns the latency over all processes: the median of their medians, ns.
    pub fn median_ns(&self) -> Option<f64> {
        let medians: Vec<f64> = self.processes.iter().map(|p| p.median_ns).collect();
        stats::median(&medians)
    }

    /// Returns the change against the reference.
    pub fn change(&self) -> Option<Change> {
        let ratios: Option<Vec<f64>> = self.processes.iter().map(|p| p.ratio).collect();
        change(&ratios?)
    }

    /// Returns the latency of each process in units of the device's pace, or `None` if the pace
    /// is unknown.
    pub fn paced(&self) -> Option<Vec<f64>> {
        let paced = self.processes.iter().map(|p| {
            let sentinel = p.sentinel_ns.filter(|&ns| ns > 0.0)?;
            Some(p.median_ns / sentinel)
        });
        paced.collect()
    }
}

/// Why a simulated board's figures are no baseline.
const SIMULATED: &str =
    "the board is simulated: its times are counts of an emulator's instructions, no latencies";

fn is_simulated(measurement: &Measurement) -> bool {
    let board = measurement.runtime.board.as_ref();
    board.is_some_and(|board| board.simulated)
}

/// The models of a series.
#[derive(Clone, Copy, Debug)]
pub struct ModelPair<'a> {
    /// The model to measure.
    pub model: &'a Model,
    /// The model to interleave it with.
    pub reference: Option<&'a Model>,
}

/// Measures a model in one worker process after another, until the change against the reference
/// is clear or the most processes are done. `progress` is called after each process.
///
/// The two networks swap places from process to process: a worker loads its reference first, and
/// the order has been worth a fifth of a per cent. The first request also finds their peak memory.
///
/// # Errors
/// Fails if the device does; [`LatencyError::Failed`] if a model cannot run.
pub fn measure_series(
    source: &mut dyn LatencySource,
    profile: &Profile,
    ModelPair { model, reference }: ModelPair<'_>,
    config: &SeriesConfig,
    mut progress: impl FnMut(usize, Option<Change>),
) -> Result<Series, LatencyError> {
    let request = |model: &Model, reference: Option<&Model>| MeasureRequest {
        sampling: Sampling {
            // A profile may set a target below a thousandth.
            ci_target_rel: (config.threshold / 4.0)
                .max(0.001)
                .min(profile.sampling.ci_target_rel),
            ..profile.sampling.clone()
        },
        ..profile.request(vec![model.clone()], reference.cloned())
    };
    let straight = request(model, reference);
    let swapped = reference.map(|reference| request(reference, Some(model)));
    // Peak memory does not differ from process to process.
    let first = MeasureRequest {
        evidence: Evidence::Full,
        ..straight.clone()
    };
    let mut series = Series::default();
    for done in 1..=config.max_processes.max(2) {
        let swapped = swapped.as_ref().filter(|_| done % 2 == 0);
        let mut measured = source.measure(match done {
            1 => &first,
            _ => swapped.unwrap_or(&straight),
        })?;
        let base = reference.and_then(|_| measured.pop());
        let Some(candidate) = measured.pop() else {
            continue;
        };
        if done == 1 {
            series.peak_memory_bytes = candidate.peak_memory_bytes;
            let of_base = base.as_ref().and_then(|base| base.peak_memory_bytes);
            series.reference_peak_memory_bytes = of_base;
        }
        match (&candidate.verdict, swapped, &base) {
            (latency::Verdict::Invalid { reason }, ..) => series.rejections.push(reason.clone()),
            _ if is_simulated(&candidate) => series.rejections.push(SIMULATED.to_owned()),
            (latency::Verdict::Valid, Some(_), Some(new)) => {
                let ratio = candidate.ratio.map(|ratio| 1.0 / ratio.interval.value);
                series.processes.push(process(new, Some(&candidate), ratio));
            }
            (latency::Verdict::Valid, ..) => {
                let ratio = candidate.ratio.map(|ratio| ratio.interval.value);
                series
                    .processes
                    .push(process(&candidate, base.as_ref(), ratio));
            }
        }
        series.measurements.push(candidate);
        series.measurements.extend(base);
        let change = series.change();
        progress(done, change);
        let clear = match (reference, change) {
            (Some(_), change) => change.is_some_and(|change| change.is_clear(config.threshold)),
            (None, _) => true,
        };
        if series.processes.len() >= config.min_processes.max(2) && clear {
            break;
        }
    }
    Ok(series)
}

fn process(new: &Measurement, base: Option<&Measurement>, ratio: Option<f64>) -> Process {
    let rounds = |m: &Measurement| stats::block_medians(&m.samples_ns, m.block_runs as usize);
    Process {
        rounds_ns: rounds(new),
        reference_rounds_ns: base.map(rounds).unwrap_or_default(),
        median_ns: new.median_ns,
        ratio,
        sentinel_ns: new
            .sentinel
            .map(|s| (s.before_ns as f64 + s.after_ns as f64) / 2.0),
    }
}
