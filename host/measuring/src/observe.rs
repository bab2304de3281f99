//! Two networks on the device: their latency, interleaved, and the times of their operators.

use std::ops::RangeInclusive;

use latency::stats::Interval;
use latency::{
    AgentDevice, Evidence, LatencySource as _, MeasureRequest, Measurement, Model, NodeProvider,
    Profile, Sampling,
};

use crate::error::MeasuringError;
use crate::ratio::valid_ratio;

/// Sampling effort of the comparison, as a multiple of a search's.
const EFFORT: f64 = 4.0;

/// Number of profiles of each network: from the fewest whose median has a 95 % interval to the
/// most that are taken.
const PASSES: RangeInclusive<usize> = 6..=24;

/// The operators of the original and of the pruned network in one profile of each.
pub type Pass = [Vec<NodeProvider>; 2];

/// Two networks as the device ran them.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Median latency of the original, ns.
    pub original_ns: f64,
    /// Median latency of the pruned network, ns.
    pub pruned_ns: f64,
    /// Latency of the pruned network over the original's.
    pub ratio: Interval,
    /// The profiles, one pair after the other.
    pub passes: Vec<Pass>,
}

impl Observed {
    /// The operators of the first profile of one of the networks; all profiles run the same.
    pub fn operators(&self, pruned: bool) -> &[NodeProvider] {
        let first = self.passes.first();
        first.map_or(&[], |pass| &pass[usize::from(pruned)][..])
    }
}

/// Two networks on one device.
pub(crate) struct Comparison<'a> {
    pub device: &'a mut AgentDevice,
    pub profile: &'a Profile,
    pub original: &'a Model,
    pub pruned: &'a Model,
}

impl Comparison<'_> {
    /// Measures both networks in one process, then profiles them in turn until the profiles are
    /// `enough`. `go_on` receives how many there are, and ends the work by returning `false`.
    pub fn observe(
        &mut self,
        enough: impl Fn(&[Pass]) -> bool,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Observed, MeasuringError> {
        let models = vec![self.pruned.clone()];
        let thorough = MeasureRequest {
            evidence: Evidence::Full,
            ..self
                .profile
                .request(models, Some(self.original.clone()))
                .scaled(EFFORT)
        };
        let [pruned, original] = self.both(&thorough)?;
        let ratio = valid_ratio(&pruned, &original).map_err(|reason| self.invalid(reason))?;
        let mut observed = Observed {
            original_ns: original.median_ns,
            pruned_ns: pruned.median_ns,
            ratio,
            passes: vec![operators(pruned, original)],
        };
        let mut first = observed.passes.iter().flatten().flatten();
        if !first.any(|operator| operator.time_ns.is_some()) {
            return Err(MeasuringError::NoOperatorTimes {
                device: self.profile.name.clone(),
            });
        }
        // Only the profiles count from here on, so the samples may be as few as can be.
        let short = MeasureRequest {
            sampling: Sampling {
                warmup_ns: 1_000_000,
                warmup_runs: 1,
                block_ns: 1_000_000,
                min_rounds: 6,
                max_rounds: 6,
                sustained_ns: 0,
                ..self.profile.sampling.clone()
            },
            ..thorough
        };
        while observed.passes.len() < *PASSES.end()
            && (observed.passes.len() < *PASSES.start() || !enough(&observed.passes))
        {
            if !go_on(observed.passes.len()) {
                return Err(MeasuringError::Stopped);
            }
            let [pruned, original] = self.both(&short)?;
            observed.passes.push(operators(pruned, original));
        }
        Ok(observed)
    }

    fn both(&mut self, request: &MeasureRequest) -> Result<[Measurement; 2], MeasuringError> {
        let measured = self.device.measure(request)?;
        measured
            .try_into()
            .map_err(|_| self.invalid("the agent returned another number of measurements".into()))
    }

    fn invalid(&self, reason: String) -> MeasuringError {
        MeasuringError::NoMeasurement {
            model: self.pruned.name().to_owned(),
            device: self.profile.name.clone(),
            reason,
        }
    }
}

fn operators(pruned: Measurement, original: Measurement) -> Pass {
    [original, pruned].map(|measurement| measurement.runtime.node_providers)
}

/// The operators of one network in one profile, with their times.
pub(crate) fn operators_of(
    device: &mut AgentDevice,
    profile: &Profile,
    model: &Model,
) -> Result<Vec<NodeProvider>, MeasuringError> {
    let request = MeasureRequest {
        evidence: Evidence::Full,
        ..profile.request(vec![model.clone()], None)
    };
    let measured = device.measure(&request)?.into_iter().next();
    Ok(measured.map_or(Vec::new(), |m| m.runtime.node_providers))
}
