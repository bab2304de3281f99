//! Measuring what the latency model knows of a device's kernels, and predicting from it.

use std::path::Path;

use latency::{
    AgentDevice, LatencySource, MeasureRequest, Model, Patience, Profile, Remembering, Sampling,
    Store, resolve, user_store,
};
use latency_model::{CostTable, KernelTable, ProbePlan, ProbePoint};
use search::WidthGrid;
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;
use crate::error::PipelineError;
use crate::model::{ModelSpec, load_model, read_model_file};

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
        ratios.extend(batch.iter().zip(&measured).filter_map(|(point, m)| {
            let ratio = m.ratio.filter(|_| m.is_valid())?;
            Some((point.clone(), ratio.median))
        }));
    }
    let Some(ns) = latency::stats::median(&reference_ns) else {
        return Ok(KernelTable::default());
    };
    Ok(KernelTable::new(
        ratios.into_iter().map(|(point, ratio)| (point, ratio * ns)),
    ))
}

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

/// Which configuration of which network to predict, on which device.
#[derive(Debug, Clone)]
pub struct PredictRequest {
    /// The network.
    pub model: ModelSpec,
    /// Classes of a zoo network.
    pub classes: usize,
    /// Image of a zoo network: channels, height, width.
    pub input: [usize; 3],
    /// How channels are grouped.
    pub groups: channels::AnalysisOptions,
    /// The device.
    pub device: String,
    /// Share of each group's channels to keep, where `widths` does not say otherwise.
    pub keep: f64,
    /// The width of each group, in their order.
    pub widths: Option<Vec<usize>>,
}

/// A layer's time.
#[derive(Debug, Clone, Serialize)]
pub struct LayerTime {
    /// The layer's name.
    pub name: String,
    /// Unpruned, ns; 0 for a layer of which nothing is known.
    pub full_ns: f64,
    /// With the widths asked for, ns.
    pub ns: f64,
}

/// A group's widths on the device.
#[derive(Debug, Clone, Serialize)]
pub struct GroupSteps {
    /// The group's name.
    pub name: String,
    /// Its channels.
    pub channels: usize,
    /// The width asked for.
    pub width: usize,
    /// The widths worth having: the corners of the steps that the device moves in, with the narrowest and the widest.
    pub corners: Vec<usize>,
}

/// A prediction from kernels measured alone.
#[derive(Debug, Clone, Serialize)]
pub struct Predicted {
    /// The device's identity.
    pub device: String,
    /// Latency over the unpruned network's.
    pub ratio: f64,
    /// MACs over the unpruned network's.
    pub macs_ratio: f64,
    /// Sum of the kernels of the unpruned network, ns.
    pub full_ns: f64,
    /// Sum of the kernels with the widths asked for, ns.
    pub ns: f64,
    /// Kernels that were looked up or measured.
    pub kernels: usize,
    /// Layers of which nothing is known, and whose time is missing in the sums.
    pub unknown_layers: usize,
    /// Each layer.
    pub layers: Vec<LayerTime>,
    /// Each group.
    pub groups: Vec<GroupSteps>,
}

/// Standard deviation of a measured kernel relative to its time, as far as steps are looked for.
const KERNEL_NOISE: f64 = 0.01;

/// Predicts the latency of a width configuration from kernels measured alone, without measuring any whole network. What was
/// measured is kept in the user's store, under the device, its runtime and settings, and not measured again.
///
/// # Errors
/// When the network cannot be read, the widths do not fit it, or the device cannot measure.
pub fn predict(
    request: &PredictRequest,
    progress: impl FnMut(usize) -> bool,
) -> Result<Predicted, PipelineError> {
    let (graph, analysis) = if request.model.zoo_name().is_some() {
        let (classes, input) = (request.classes, request.input);
        let model = load_model(&request.model, classes, input, 0, request.groups)?;
        (model.graph, model.analysis)
    } else {
        let graph = read_model_file(Path::new(&request.model.0))?;
        let analysis = channels::analyse_with(&graph, request.groups)?;
        (graph, analysis)
    };
    let sizes: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    let widths = match &request.widths {
        Some(widths) => widths.clone(),
        None => sizes
            .iter()
            .map(|&n| ((n as f64 * request.keep).round() as usize).clamp(1, n))
            .collect(),
    };
    let fits = widths.len() == sizes.len() && widths.iter().zip(&sizes).all(|(w, n)| w <= n);
    if !fits {
        let what = format!("{widths:?} for groups of {sizes:?} channels");
        return Err(ConfigError::value("widths", what).into());
    }
    let grid = WidthGrid::default();
    let admissible: Vec<Vec<usize>> = sizes
        .iter()
        .zip(&widths)
        .map(|(&channels, &width)| {
            let mut all = grid.widths(channels);
            all.push(width.max(1));
            all.sort_unstable();
            all.dedup();
            all
        })
        .collect();
    let table = CostTable::new(&graph, &analysis);
    let plan = ProbePlan::new(&table, &admissible);
    let found = resolve(&request.device)?;
    let agent = AgentDevice::start(found.launcher, &found.profile.name, Patience::default())?;
    let device = agent.describe().id();
    let config = ProbeConfig::default();
    let kernels = match user_store() {
        Some(path) => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)
                    .map_err(|e| PipelineError::io(folder, "make the folder", e))?;
            }
            let mut kept = Remembering::new(agent, Store::open(&path)?)?;
            probe_kernels(&mut kept, &found.profile, &plan, &config, progress)?
        }
        None => {
            let mut agent = agent;
            probe_kernels(&mut agent, &found.profile, &plan, &config, progress)?
        }
    };
    let times = table.layer_times(&kernels);
    let layers = table.layer_names().zip(
        table
            .layer_ns(&times, &sizes)
            .into_iter()
            .zip(table.layer_ns(&times, &widths)),
    );
    let layers: Vec<LayerTime> = layers
        .map(|(name, (full_ns, ns))| LayerTime {
            name: name.to_owned(),
            full_ns,
            ns,
        })
        .collect();
    let groups = analysis
        .groups()
        .iter()
        .enumerate()
        .map(|(i, group)| GroupSteps {
            name: group.name.clone(),
            channels: group.channels,
            width: widths[i],
            corners: table.corners(&times, i, &admissible[i], KERNEL_NOISE),
        });
    Ok(Predicted {
        device,
        ratio: table.kernel_ratio(&times, &widths),
        macs_ratio: table.macs(&widths) / table.macs(&sizes).max(1.0),
        full_ns: times.full_ns(),
        ns: layers.iter().map(|layer| layer.ns).sum(),
        kernels: kernels.times().len(),
        unknown_layers: times.unknown(),
        groups: groups.collect(),
        layers,
    })
}
