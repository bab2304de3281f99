//! Two networks on the device: their latency, interleaved, and the times of their operators.

use latency::{
    AgentDevice, Evidence, LatencySource as _, MeasureRequest, Measurement, Model, NodeProvider,
    Patience, Profile, Sampling, Verdict,
};

use crate::error::PipelineError;

/// Sampling effort of the comparison, as a multiple of a search's.
const EFFORT: f64 = 4.0;

/// Profiles of each network: from the fewest of which a median has a 95 % interval to the most that are taken.
const PASSES: std::ops::RangeInclusive<usize> = 6..=24;

/// The operators of the original and of the pruned network in one profile of each.
pub(super) type Pass = [Vec<NodeProvider>; 2];

/// What was seen of two networks.
pub(super) struct Observed {
    pub original_ns: f64,
    pub pruned_ns: f64,
    pub ratio: (f64, f64, f64),
    pub passes: Vec<Pass>,
}

impl Observed {
    /// The operators of the first profile of one of the networks; all profiles run the same.
    pub fn operators(&self, pruned: bool) -> &[NodeProvider] {
        let first = self.passes.first();
        first.map_or(&[], |pass| &pass[usize::from(pruned)][..])
    }
}

/// Measures both networks in one process, then profiles them in turn until the profiles are `enough`. `go_on` hears how many there
/// are, and ends the work by returning `false`.
pub(super) fn observe(
    device: &mut AgentDevice,
    profile: &Profile,
    original: &Model,
    pruned: &Model,
    enough: impl Fn(&[Pass]) -> bool,
    mut go_on: impl FnMut(usize) -> bool,
) -> Result<Observed, PipelineError> {
    let thorough = MeasureRequest {
        evidence: Evidence::Full,
        ..profile
            .request(vec![pruned.clone()], Some(original.clone()))
            .scaled(EFFORT)
    };
    let [first, reference] = both(device, profile, &thorough)?;
    let ratio = valid(&first, &reference).and_then(|()| {
        let ratio = first.ratio;
        ratio.ok_or_else(|| "the agent gave no ratio to the original".to_owned())
    });
    let ratio = ratio.map_err(|reason| PipelineError::NoMeasurement {
        model: pruned.name().to_owned(),
        device: profile.name.clone(),
        attempts: Patience::default().retries + 1,
        reason,
    })?;
    let mut observed = Observed {
        original_ns: reference.median_ns,
        pruned_ns: first.median_ns,
        ratio: (ratio.median, ratio.low, ratio.high),
        passes: vec![operators(first, reference)],
    };
    if !observed.passes[0].iter().flatten().any(timed) {
        return Err(PipelineError::NoOperatorTimes {
            device: profile.name.clone(),
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
            ..profile.sampling.clone()
        },
        ..thorough
    };
    while observed.passes.len() < *PASSES.end()
        && (observed.passes.len() < *PASSES.start() || !enough(&observed.passes))
    {
        if !go_on(observed.passes.len()) {
            return Err(PipelineError::Stopped);
        }
        let [pruned, original] = both(device, profile, &short)?;
        observed.passes.push(operators(pruned, original));
    }
    Ok(observed)
}

fn both(
    device: &mut AgentDevice,
    profile: &Profile,
    request: &MeasureRequest,
) -> Result<[Measurement; 2], PipelineError> {
    let measured = device.measure(request)?;
    measured
        .try_into()
        .map_err(|_| PipelineError::NoMeasurement {
            model: request.names().collect::<Vec<_>>().join(", "),
            device: profile.name.clone(),
            attempts: 1,
            reason: "the agent returned another number of measurements".into(),
        })
}

fn valid(pruned: &Measurement, original: &Measurement) -> Result<(), String> {
    for measurement in [pruned, original] {
        if let Verdict::Invalid { reason } = &measurement.verdict {
            return Err(reason.clone());
        }
    }
    Ok(())
}

fn operators(pruned: Measurement, original: Measurement) -> Pass {
    [original, pruned].map(|measurement| measurement.runtime.node_providers)
}

fn timed(operator: &NodeProvider) -> bool {
    operator.time_ns.is_some()
}
