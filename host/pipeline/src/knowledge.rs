//! Measuring kernels alone, once for every device.

use latency::{
    AgentDevice, LatencySource, MeasureRequest, Model, Profile, Remembering, Sampling, Store,
    user_store,
};
use latency_model::{KernelTable, ProbePlan, ProbePoint};
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
    let model = |point: &ProbePoint| -> Result<Model, PipelineError> {
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
    };
    let macs = |point: &&ProbePoint| point.inputs * point.outputs;
    let Some(largest) = plan.points().iter().max_by_key(macs) else {
        return Ok(KernelTable::default());
    };
    let reference = model(largest)?;
    let mut reference_ns = Vec::new();
    let mut ratios: Vec<(ProbePoint, f64)> = Vec::new();
    let mut noise = Vec::new();
    for (i, batch) in plan.points().chunks(config.batch.max(1)).enumerate() {
        if !progress(i * config.batch) {
            return Err(PipelineError::Stopped);
        }
        let request = MeasureRequest {
            models: batch.iter().map(model).collect::<Result<_, _>>()?,
            reference: Some(reference.clone()),
            sampling: sampling(profile, config),
            limits: profile.limits.clone(),
            runtime: profile.runtime.clone(),
            conditions: profile.conditions.clone(),
            ..MeasureRequest::default()
        };
        let mut measured = source.measure(&request)?;
        reference_ns.extend(measured.pop().map(|m| m.median_ns));
        for (point, m) in batch.iter().zip(&measured) {
            if let Some(ratio) = m.ratio.filter(|_| m.is_valid()) {
                ratios.push((point.clone(), ratio.median));
                noise.push((ratio.high - ratio.low) / (2.0 * 1.96 * ratio.median));
            }
        }
    }
    let Some(ns) = latency::stats::median(&reference_ns) else {
        return Ok(KernelTable::default());
    };
    let times = ratios.into_iter().map(|(point, ratio)| (point, ratio * ns));
    let noise = latency::stats::median(&noise).unwrap_or(0.0);
    Ok(KernelTable::new(times, noise.max(LEAST_NOISE)))
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
