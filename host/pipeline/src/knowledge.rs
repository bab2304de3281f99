//! Measuring kernels alone, once for every device.

use latency::{
    AgentDevice, DeviceInfo, Donor, Key, LatencySource, MeasureRequest, Model, Profile, Ratio,
    Remembering, Sampling, Store, user_store,
};
use latency_model::{KernelTable, ModelFit, ProbePlan, ProbePoint};
use serde::{Deserialize, Serialize};

use crate::error::PipelineError;

/// How kernels are measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbeConfig {
    /// Kernels that are measured in one process, interleaved with each other and the reference.
    pub batch: usize,
    /// About how long one block of runs of one kernel lasts, ns. Many short blocks: kernels take microseconds.
    pub block_ns: u64,
    /// Rounds that each kernel is measured in at least.
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

/// A device behind the user's store, where there is one: what was measured is kept under the device, its runtime and settings, and
/// not measured again.
///
/// # Errors
/// When the store cannot be opened.
pub(crate) fn remembered(device: AgentDevice) -> Result<Box<dyn LatencySource>, PipelineError> {
    let Some(path) = user_store() else {
        return Ok(Box::new(device));
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|e| PipelineError::io(folder, "make the folder", e))?;
    }
    Ok(Box::new(Remembering::new(device, Store::open(&path)?)?))
}

/// Measures each kernel of `plan`, interleaved in batches. Every batch holds the same reference, the largest kernel, so that
/// what the device does between batches cancels. `progress` hears how many are done, and ends the probe by returning `false`.
///
/// Kernels without a valid measurement are left out of the table.
///
/// # Errors
/// [`PipelineError::Stopped`] when `progress` says so; others when the device fails or nothing could be measured.
pub fn probe_kernels(
    source: &mut dyn LatencySource,
    profile: &Profile,
    plan: &ProbePlan,
    config: &ProbeConfig,
    mut progress: impl FnMut(usize) -> bool,
) -> Result<KernelTable, PipelineError> {
    let Some(reference) = reference(plan)? else {
        return Ok(KernelTable::default());
    };
    let mut reference_ns = Vec::new();
    let mut ratios: Vec<(ProbePoint, Ratio)> = Vec::new();
    for (i, batch) in plan.points().chunks(config.batch.max(1)).enumerate() {
        if !progress(i * config.batch) {
            return Err(PipelineError::Stopped);
        }
        let models = batch.iter().map(model).collect::<Result<_, _>>()?;
        let request = MeasureRequest {
            sampling: sampling(profile, config),
            ..profile.request(models, Some(reference.clone()))
        };
        let mut measured = source.measure(&request)?;
        reference_ns.extend(measured.pop().map(|m| m.median_ns));
        for (point, m) in batch.iter().zip(&measured) {
            if let Some(ratio) = m.ratio.filter(|_| m.is_valid()) {
                ratios.push((point.clone(), ratio));
            }
        }
    }
    Ok(match latency::stats::median(&reference_ns) {
        Some(ns) => table(ratios, ns),
        None => KernelTable::default(),
    })
}

/// Share of the kernels that another device must have measured for its times to stand for a device's own.
const MOST: f64 = 0.95;

/// What the predictions of whole networks left out may be off by, on average and relative, before the kernels of another device of
/// the kind are said not to fit.
const DONOR_FITS: f64 = 0.05;

/// What to say where the kernels of `other` do not fit a device, by its whole networks.
pub(crate) fn misfit(other: &str, fit: &ModelFit) -> Option<String> {
    let error = fit.mean_relative_error;
    (error > DONOR_FITS).then(|| {
        format!(
            "with the kernels of {other} predictions are off by {:.1} %: this device's own are measured",
            error * 100.0
        )
    })
}

/// Whole networks that are measured at most on a device whose kind's kernels are known.
pub(crate) const DONOR_NETWORKS: u64 = 20;

/// The times of the kernels of `plan` on another device of the profile, and its name, where `store` holds nearly all of them.
///
/// # Errors
/// When the store cannot be read or a kernel not be written.
pub(crate) fn donor_kernels(
    store: &Store,
    own: &DeviceInfo,
    profile: &Profile,
    plan: &ProbePlan,
    config: &ProbeConfig,
) -> Result<Option<(String, KernelTable)>, PipelineError> {
    let Some(reference) = reference(plan)? else {
        return Ok(None);
    };
    let sampling = sampling(profile, config);
    let key = |point: &ProbePoint| {
        let (model, beside) = (model(point)?.sha256(), reference.sha256());
        Ok(Key::new(
            model,
            Some(beside),
            own,
            &sampling,
            &profile.runtime,
        ))
    };
    let keys: Result<Vec<Key>, PipelineError> = plan.points().iter().map(key).collect();
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
    let known: Vec<(ProbePoint, Ratio)> = points
        .filter_map(|(point, ratio)| Some((point, ratio?)))
        .collect();
    let enough = known.len() as f64 >= MOST * plan.points().len() as f64;
    Ok(enough.then(|| (name, table(known, reference_ns))))
}

fn model(point: &ProbePoint) -> Result<Model, PipelineError> {
    let name = point.name();
    let fail = |source| PipelineError::Model {
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
fn reference(plan: &ProbePlan) -> Result<Option<Model>, PipelineError> {
    let macs = |point: &&ProbePoint| point.inputs * point.outputs;
    plan.points().iter().max_by_key(macs).map(model).transpose()
}

/// The times of kernels from their ratios to one that took `reference_ns`.
fn table(ratios: Vec<(ProbePoint, Ratio)>, reference_ns: f64) -> KernelTable {
    let each = ratios.iter();
    let noise: Vec<f64> = each
        .map(|(_, r)| (r.high - r.low) / (2.0 * 1.96 * r.median))
        .collect();
    let noise = latency::stats::median(&noise).unwrap_or(0.0);
    let times = ratios.into_iter();
    let times = times.map(|(point, ratio)| (point, ratio.median * reference_ns));
    KernelTable::new(times, noise.max(LEAST_NOISE))
}

/// What a kernel's time differs by from one process to the next even where the rounds of one process agree, relative.
const LEAST_NOISE: f64 = 0.01;

fn sampling(profile: &Profile, config: &ProbeConfig) -> Sampling {
    Sampling {
        warmup_ns: 5_000_000,
        block_ns: config.block_ns,
        min_rounds: config.rounds.max(6),
        max_rounds: config.rounds.max(6) * 8,
        ci_target_rel: 0.02,
        ci_accept_rel: 0.1,
        ..profile.sampling.clone()
    }
}
