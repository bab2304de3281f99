//! Series of processes: what a comparison stands on.

use latency::{
    Evidence, LatencyError, LatencySource, MeasureRequest, Measurement, Model, Profile, Sampling,
    stats,
};
use serde::{Deserialize, Serialize};

use crate::compare::{Change, change};

/// How a series is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeriesConfig {
    /// The fewest processes.
    pub min_processes: usize,
    /// The most; reached when the interval stays wide.
    pub max_processes: usize,
    /// The change that matters, relative.
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

/// What one process of the worker measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Block medians of the model, round by round, ns.
    pub rounds_ns: Vec<f64>,
    /// Those of the model it was interleaved with; empty without one.
    pub reference_rounds_ns: Vec<f64>,
    /// The latency: the median over rounds, ns.
    pub median_ns: f64,
    /// The ratio to the model it was interleaved with.
    pub ratio: Option<f64>,
    /// The device's own pace, ns: the mean of the sentinel's times before and after.
    pub sentinel_ns: Option<f64>,
}

/// A model's series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// The processes whose measurement was valid.
    pub processes: Vec<Process>,
    /// Everything that was measured, valid or not, reference included.
    pub measurements: Vec<Measurement>,
    /// Why measurements were not valid.
    pub rejections: Vec<String>,
}

impl Series {
    /// The latency over all processes: the median of their medians, ns.
    pub fn median_ns(&self) -> Option<f64> {
        let medians: Vec<f64> = self.processes.iter().map(|p| p.median_ns).collect();
        stats::median(&medians)
    }

    /// The change against the model that each process was interleaved with.
    pub fn change(&self) -> Option<Change> {
        let ratios: Option<Vec<f64>> = self.processes.iter().map(|p| p.ratio).collect();
        change(&ratios?)
    }

    /// The latency in units of the device's pace, process by process; `None` where the pace is not known.
    pub fn paced(&self) -> Option<Vec<f64>> {
        let paced = self.processes.iter().map(|p| {
            let sentinel = p.sentinel_ns.filter(|&ns| ns > 0.0)?;
            Some(p.median_ns / sentinel)
        });
        paced.collect()
    }
}

/// Measures `model`, interleaved with `reference` where there is one, in one process of the worker after the other, until the
/// change is clear or the most are done. `progress` hears of each process.
///
/// A worker loads its reference first, and which network comes first has been worth a fifth of a per cent: so the two change
/// places from process to process.
///
/// # Errors
/// When the device fails; a model that cannot run is [`LatencyError::Failed`].
pub fn measure_series(
    source: &mut dyn LatencySource,
    profile: &Profile,
    model: &Model,
    reference: Option<&Model>,
    config: &SeriesConfig,
    mut progress: impl FnMut(usize, Option<Change>),
) -> Result<Series, LatencyError> {
    let request = |model: &Model, reference: Option<&Model>| MeasureRequest {
        models: vec![model.clone()],
        reference: reference.cloned(),
        sampling: Sampling {
            // A profile may ask for less than a thousandth.
            ci_target_rel: (config.threshold / 4.0)
                .max(0.001)
                .min(profile.sampling.ci_target_rel),
            ..profile.sampling.clone()
        },
        limits: profile.limits.clone(),
        evidence: Evidence::Quick,
        runtime: profile.runtime.clone(),
        conditions: profile.conditions.clone(),
    };
    let straight = request(model, reference);
    let exchanged = reference.map(|reference| request(reference, Some(model)));
    let mut series = Series::default();
    for done in 1..=config.max_processes.max(2) {
        let exchanged = exchanged.as_ref().filter(|_| done % 2 == 0);
        let mut measured = source.measure(exchanged.unwrap_or(&straight))?;
        let base = reference.and_then(|_| measured.pop());
        let Some(candidate) = measured.pop() else {
            continue;
        };
        match (&candidate.verdict, exchanged, &base) {
            (latency::Verdict::Invalid { reason }, ..) => series.rejections.push(reason.clone()),
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
