//! Kernels measured alone, on this device or on a donor: another device of the profile that
//! measured them before.

use latency::stats::{self, Interval};
use latency::{
    DeviceInfo, Donor, Key, LatencySource, MeasureRequest, Model, Processes, Profile, Sampling,
    Store,
};
use latency_model::{KernelTable, ModelFit, ProbePlan, ProbePoint};
use serde::{Deserialize, Serialize};

use crate::error::MeasuringError;

/// How kernels are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Kernels that are measured in one process, interleaved with each other and the reference.
    pub batch: usize,
    /// About how long one block of runs of one kernel lasts, ns. Many short blocks: kernels take
    /// microseconds.
    pub block_ns: u64,
    /// The fewest rounds in which each kernel is measured.
    pub rounds: u32,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self {
            batch: 24,
            block_ns: 800_000,
            rounds: 12,
        }
    }
}

impl ProbeConfig {
    fn sampling(&self, profile: &Profile) -> Sampling {
        Sampling {
            warmup_ns: 5_000_000,
            block_ns: self.block_ns,
            min_rounds: self.rounds.max(6),
            max_rounds: self.rounds.max(6) * 8,
            ci_target_rel: 0.02,
            // A profile of a noisy device may accept more.
            ci_accept_rel: profile.sampling.ci_accept_rel.max(0.1),
            ..profile.sampling.clone()
        }
    }
}

/// Measures each kernel of `plan`, interleaved in batches. Every batch holds the same reference,
/// the largest kernel, so that what the device does between batches cancels. `progress` receives
/// how many are done, and ends the work by returning `false`.
///
/// A kernel that takes longer than one with more channels is measured again, and so is the other,
/// over several processes: a staircase that falls is a finding, a spike is noise. So are those
/// during which other programs used the device, since processes that wait for a core are replaced;
/// unless that was the case for most, which is reported instead.
/// Kernels without a valid measurement are left out of the table.
///
/// # Errors
/// [`MeasuringError::Stopped`] when `progress` returned `false`; others when the device fails.
pub fn probe_kernels(
    source: &mut dyn LatencySource,
    profile: &Profile,
    plan: &ProbePlan,
    config: &ProbeConfig,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<ProbedKernels, MeasuringError> {
    let Some(reference) = reference(plan)? else {
        return Ok(ProbedKernels::default());
    };
    let mut reference_ns = Vec::new();
    let mut ratios = Vec::new();
    let mut suspects = Vec::new();
    for (i, batch) in plan.points().chunks(config.batch.max(1)).enumerate() {
        if !progress(i * config.batch) {
            return Err(MeasuringError::Stopped);
        }
        let models = batch.iter().map(model).collect::<Result<_, _>>()?;
        let request = MeasureRequest {
            sampling: config.sampling(profile),
            ..profile.request(models, Some(reference.clone()))
        };
        let mut measured = source.measure(&request)?;
        reference_ns.extend(measured.pop().map(|m| m.median_ns));
        for (point, m) in batch.iter().zip(&measured) {
            let ratio = m.ratio.filter(|_| m.is_valid());
            ratios.extend(ratio.map(|ratio| (point.clone(), ratio.interval)));
            suspects.extend(m.is_disturbed().then(|| point.clone()));
        }
    }
    let Some(reference_ns) = stats::median(&reference_ns) else {
        return Ok(ProbedKernels::default());
    };
    // A device that is busy all the time would be no quieter the second time.
    let is_busy = suspects.len() * 2 > ratios.len();
    let mut disturbed = 0;
    if is_busy {
        disturbed = suspects.len();
        suspects.clear();
    }
    for point in table(ratios.clone(), reference_ns).inversions() {
        if !suspects.contains(&point) {
            suspects.push(point);
        }
    }
    for batch in suspects.chunks(config.batch.max(1)) {
        if !progress(plan.points().len()) {
            return Err(MeasuringError::Stopped);
        }
        let models = batch.iter().map(model).collect::<Result<_, _>>()?;
        let request = MeasureRequest {
            sampling: config.sampling(profile),
            processes: AGAIN,
            ..profile.request(models, Some(reference.clone()))
        };
        let measured = source.measure(&request)?;
        for (point, m) in batch.iter().zip(&measured) {
            disturbed += usize::from(!is_busy && m.is_disturbed());
            if let Some(ratio) = m.ratio.filter(|_| m.is_valid()) {
                let known = ratios.iter_mut().filter(|(known, _)| known == point);
                known.for_each(|(_, interval)| *interval = ratio.interval);
            }
        }
    }
    Ok(ProbedKernels {
        table: table(ratios, reference_ns),
        disturbed,
    })
}

/// The kernels of a device.
#[derive(Debug, Clone, Default)]
pub struct ProbedKernels {
    /// Their times.
    pub table: KernelTable,
    /// How many of them were measured while other programs used the device, each time.
    pub disturbed: usize,
}

impl ProbedKernels {
    /// A warning where predictions from these kernels may be worse than their intervals say.
    pub fn warning(&self) -> Option<String> {
        let count = self.table.times().len();
        (self.disturbed > 0).then(|| {
            format!(
                "{} of {count} kernels were measured while other programs used the device or it changed its pace, so predictions \
                 from them may be off by more than they say: predict again when it is quiet",
                self.disturbed
            )
        })
    }
}

/// The processes over which kernels are measured again.
const AGAIN: Processes = Processes { fewest: 3, most: 6 };

/// The kernels of another device.
#[derive(Debug, Clone)]
pub struct DonorKernels {
    /// The name of that device.
    pub donor: String,
    /// Their times there.
    pub table: KernelTable,
}

/// Share of a plan's kernels that a donor must have measured.
const DONOR_COVERAGE: f64 = 0.95;

/// The most whole networks that are measured on a device with a donor's kernels: they show only
/// how the two devices differ.
pub const DONOR_NETWORKS: u64 = 20;

/// The largest mean relative error, over whole networks each left out, up to which a donor's
/// kernels fit a device.
const DONOR_FITS: f64 = 0.05;

/// A warning where the kernels of `donor` do not fit a device, from the fit over the device's
/// whole networks.
pub fn misfit(donor: &str, fit: &ModelFit) -> Option<String> {
    let error = fit.mean_relative_error;
    (error > DONOR_FITS).then(|| {
        format!(
            "with the kernels of {donor} predictions are off by {:.1} %: this device's own are measured",
            error * 100.0
        )
    })
}

/// The kernels of `plan` on another device of the profile, where `store` holds nearly all of them
/// and none of `own`.
pub(crate) fn donor_kernels(
    store: &Store,
    own: &DeviceInfo,
    profile: &Profile,
    plan: &ProbePlan,
    config: &ProbeConfig,
) -> Result<Option<DonorKernels>, MeasuringError> {
    let Some(reference) = reference(plan)? else {
        return Ok(None);
    };
    let request = MeasureRequest {
        sampling: config.sampling(profile),
        ..profile.request(Vec::new(), None)
    };
    let beside = Some(reference.sha256());
    let key = |point: &ProbePoint| Ok(Key::of_request(&model(point)?, beside, own, &request));
    let keys: Result<Vec<Key>, MeasuringError> = plan.points().iter().map(key).collect();
    let Some(Donor {
        name,
        reference_ns,
        ratios,
        ..
    }) = store.donor(own, &keys?)?
    else {
        return Ok(None);
    };
    let points = plan.points().iter().cloned().zip(ratios);
    let known: Vec<(ProbePoint, Interval)> = points
        .filter_map(|(point, ratio)| Some((point, ratio?.interval)))
        .collect();
    let enough = known.len() as f64 >= DONOR_COVERAGE * plan.points().len() as f64;
    Ok(enough.then(|| DonorKernels {
        donor: name,
        table: table(known, reference_ns),
    }))
}

fn model(point: &ProbePoint) -> Result<Model, MeasuringError> {
    let name = point.name();
    let fail = |source| MeasuringError::Kernel {
        model: name.clone(),
        source,
    };
    let network = point.network().map_err(fail)?;
    Ok(Model::new(
        &name[..],
        onnx_graph::write(&network).map_err(fail)?,
    ))
}

/// The largest kernel.
fn reference(plan: &ProbePlan) -> Result<Option<Model>, MeasuringError> {
    let macs = |point: &&ProbePoint| point.inputs * point.outputs;
    plan.points().iter().max_by_key(macs).map(model).transpose()
}

/// The least noise of kernel times, relative: they differ this much between processes even where
/// the rounds of one agree.
const LEAST_NOISE: f64 = 0.01;

/// The times of kernels from their ratios to one that took `reference_ns`.
fn table(ratios: Vec<(ProbePoint, Interval)>, reference_ns: f64) -> KernelTable {
    // The standard error behind a 95 % interval.
    let noise = ratios.iter().map(|(_, of)| of.half_width_rel() / 1.96);
    let noise = stats::median(&noise.collect::<Vec<f64>>()).unwrap_or(0.0);
    let times = ratios.into_iter();
    let times = times.map(|(point, of)| (point, of.value * reference_ns));
    KernelTable::new(times, noise.max(LEAST_NOISE))
}
