//! The latency of files on devices, outside of any run.

use std::path::{Path, PathBuf};

use channels::AnalysisOptions;
use latency::stats::Interval;
use latency::{
    Evidence, Fleet, FleetConfig, MeasureRequest, Measurement, Model, ProcessFigures, Recording,
    Store, Verdict, members, runtime_in_words,
};
use measuring::SamplingEffort;
use onnx_graph::InputSize;
use serde::Serialize;

use crate::board::board_of;
use crate::board_layers::BoardLayers;
use crate::config::{ConfigError, DeviceSpec, LatencyBudget, ModelSpec};
use crate::data::ClassifierData;
use crate::error::PipelineError;
use crate::model::{load_model, refuse_training};
use crate::progress::Reporter;
use crate::quantize::in_integers;
use crate::sizes::with_input_sizes;
use crate::store::user_store;

/// A measurement, for people and JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// The device's name.
    pub device: String,
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Latency, nanoseconds: the geometric mean of the processes' medians.
    pub median_ns: f64,
    /// Its 95 % interval over the processes, nanoseconds.
    pub interval_ns: (f64, f64),
    /// Fastest run, nanoseconds.
    pub minimum_ns: f64,
    /// 95th percentile, nanoseconds.
    pub p95_ns: f64,
    /// Latency over that of the first model.
    pub ratio: Option<Interval>,
    /// Peak memory of a process of its own, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Runtime, version, threads, providers in one line.
    pub runtime: String,
    /// Remarks: execution providers that were not available, nodes on another provider than asked
    /// for, a device under load.
    pub notes: Vec<String>,
    /// Why it may not be used, if so.
    pub invalid: Option<String>,
    /// The worker processes that the intervals are over.
    pub processes: Vec<ProcessFigures>,
    /// Every timed run, nanoseconds, process by process.
    pub samples_ns: Vec<u64>,
    /// The bare-metal board, and what each operator took on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub board: Option<BoardLayers>,
}

impl Measured {
    /// Whether the measurement is valid and within `budget`, the upper end of its 95 % interval
    /// included. A share needs a measurement beside a reference.
    #[must_use]
    pub fn is_within(&self, budget: &LatencyBudget) -> bool {
        let met = match *budget {
            LatencyBudget::Ratio(limit) => self.ratio.is_some_and(|ratio| ratio.met_below(limit)),
            LatencyBudget::Nanoseconds(limit) => self.interval_ns.1 <= limit,
        };
        met && self.invalid.is_none()
    }
}

/// The measurements of files on devices.
#[derive(Debug, Clone)]
pub struct MeasuredOn {
    /// One entry a device and file: device by device, the files in their order.
    pub measured: Vec<Measured>,
    /// Devices that failed, with the reason.
    pub failed: Vec<(String, String)>,
}

/// Files to measure, and how.
#[derive(Debug, Clone)]
pub struct MeasureFiles<'a> {
    /// The devices, all at once.
    pub device: &'a DeviceSpec,
    /// ONNX files; the first is the reference the others are interleaved with.
    pub files: &'a [PathBuf],
    /// Sizes of inputs that the models leave open.
    pub input_sizes: &'a [InputSize],
    /// How much is sampled.
    pub effort: SamplingEffort,
    /// On a bare-metal board: the least time of a sample, ns, as MLPerf Tiny has it. The median is
    /// then that of the windows of one process, whatever the effort.
    pub window_ns: Option<u64>,
}

/// Measures ONNX files, also those that this program cannot prune.
///
/// # Errors
/// When a file cannot be read, a size is for no input, or no device can measure.
pub fn measure_models(what: &MeasureFiles<'_>) -> Result<MeasuredOn, PipelineError> {
    let read = |file: &PathBuf| Model::read(file.display().to_string(), file);
    let models: Result<Vec<Model>, _> = what.files.iter().map(read).collect();
    measure(what, models?)
}

/// Measures ONNX files on a bare-metal board, networks in floats after quantising them on training
/// images of `data`. It computes with libtorch.
///
/// # Errors
/// As [`measure_models`]; also when the device is no board, or the data do not fit a network.
pub fn measure_on_board(
    what: &MeasureFiles<'_>,
    data: &ClassifierData,
    reporter: &mut dyn Reporter,
) -> Result<MeasuredOn, PipelineError> {
    if board_of(what.device)?.is_none() {
        return Err(ConfigError::value(
            "data",
            "images calibrate networks for bare-metal boards, and the device is none",
        )
        .into());
    }
    let mut models = Vec::new();
    for file in what.files {
        models.push(on_board(file, what, data, reporter)?);
    }
    measure(what, models)
}

fn measure(what: &MeasureFiles<'_>, models: Vec<Model>) -> Result<MeasuredOn, PipelineError> {
    let devices = what.device.resolve()?;
    if what.window_ns.is_some() && devices.iter().any(|of| of.profile.board.is_none()) {
        return Err(ConfigError::value(
            "window",
            "windows are of bare-metal boards: other devices run blocks (sampling.block_ns of the profile)",
        )
        .into());
    }
    let (profile, members) = members(devices, |device| Ok(Recording::new(device, recorded())))?;
    let mut models = with_input_sizes(models, what.input_sizes)?;
    let mut fleet = Fleet::start(members, FleetConfig::default())?;
    let reference = if models.len() > 1 {
        Some(models.remove(0))
    } else {
        None
    };
    let count = models.len() as u64 + u64::from(reference.is_some());
    let request = profile.request(models, reference);
    let request = match what.window_ns {
        Some(window_ns) => in_windows(request, window_ns, count),
        None => request.thorough(what.effort.times()),
    };
    let request = MeasureRequest {
        evidence: Evidence::Full,
        ..request
    };
    let mut each = fleet.measure_on_each(&request)?;
    if each.measured.is_empty()
        && let Some((_, error)) = each.failed.pop()
    {
        return Err(error.into());
    }
    let mut measured = Vec::new();
    for (device, mut measurements) in each.measured {
        if request.reference.is_some() {
            measurements.rotate_right(1);
        }
        let models = request.reference.iter().chain(&request.models);
        let each = measurements.into_iter().zip(models);
        measured.extend(each.map(|(m, model)| summarise(&device, model, m)));
    }
    let unreached = fleet
        .states()
        .into_iter()
        .filter_map(|state| Some((state.name, state.set_aside?)));
    let mut failed: Vec<(String, String)> = unreached.collect();
    for (device, error) in each.failed {
        if !failed.iter().any(|(name, _)| *name == device) {
            failed.push((device, error.to_string()));
        }
    }
    Ok(MeasuredOn { measured, failed })
}

/// The user's store, where measurements of files are recorded; `None` where there is none that can
/// be written.
fn recorded() -> Option<Store> {
    let open = || -> Result<Option<Store>, PipelineError> {
        let path = user_store()?;
        Ok(path.map(|path| Store::open(&path)).transpose()?)
    };
    open().unwrap_or_else(|error| {
        tracing::warn!(%error, "the measurements are not recorded");
        None
    })
}

/// The windows of a measurement: as many as an interval of their median needs.
const WINDOWS: u32 = 6;

/// How much longer than its counter says a board may take, for the way there and back.
const TIMES_LONGER: u64 = 2;

/// The request with windows of this length for each of its models.
fn in_windows(mut request: MeasureRequest, window_ns: u64, models: u64) -> MeasureRequest {
    let all_ns = window_ns.saturating_mul(u64::from(WINDOWS) * models * TIMES_LONGER);
    let all_ns = all_ns.min(MOST_NS);
    let (sampling, limits) = (&mut request.sampling, &mut request.limits);
    sampling.window_ns = window_ns;
    sampling.min_rounds = WINDOWS;
    sampling.max_rounds = WINDOWS;
    limits.time_ns = limits.time_ns.saturating_add(all_ns).min(MOST_NS);
    request
}

/// The longest time of a worker.
const MOST_NS: u64 = 24 * 3600 * 1_000_000_000;

/// A network as a board runs it: quantised on training images if it is in floats.
fn on_board(
    file: &Path,
    what: &MeasureFiles<'_>,
    data: &ClassifierData,
    reporter: &mut dyn Reporter,
) -> Result<Model, PipelineError> {
    let name = file.display().to_string();
    let spec = ModelSpec::new(&name).with_input_sizes(what.input_sizes.to_vec());
    let model = load_model(&spec, 0, [0; 3], 0, AnalysisOptions::default())?;
    if board_plan::has_integers(&model.graph) {
        return Ok(Model::read(name, file)?);
    }
    refuse_training(&model.graph, &name)?;
    let splits = data.open_for(&model, reporter)?;
    let quantised = in_integers(&model, splits.train.as_ref(), 0)?;
    Ok(Model::new(name, quantised.bytes))
}

pub(crate) fn runtime_line(m: &Measurement) -> String {
    let mut providers: Vec<(String, usize)> = Vec::new();
    for node in &m.runtime.node_providers {
        match providers.iter_mut().find(|(p, _)| *p == node.provider) {
            Some((_, n)) => *n += 1,
            None => providers.push((node.provider.clone(), 1)),
        }
    }
    let placed = providers
        .iter()
        .map(|(p, n)| format!("{n} nodes on {p}"))
        .collect::<Vec<_>>()
        .join(", ");
    let placed = if placed.is_empty() {
        String::new()
    } else {
        format!(", {placed}")
    };
    format!(
        "{}, {} thread(s){placed}",
        runtime_in_words(&m.runtime.version),
        m.runtime.threads
    )
}

fn summarise(device: &str, model: &Model, m: Measurement) -> Measured {
    let invalid = match &m.verdict {
        Verdict::Valid => None,
        Verdict::Invalid { reason } => Some(reason.clone()),
    };
    Measured {
        device: device.to_owned(),
        sha256: m.model_sha256.to_string(),
        median_ns: m.median_ns,
        interval_ns: m.ci95_ns,
        minimum_ns: m.min_ns as f64,
        p95_ns: m.p95_ns,
        ratio: m.ratio.map(|ratio| ratio.interval),
        peak_memory_bytes: m.peak_memory_bytes,
        runtime: runtime_line(&m),
        board: BoardLayers::of(model, &m),
        notes: m.notes,
        invalid,
        processes: m.processes,
        samples_ns: m.samples_ns,
        name: m.name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_allows_what_lies_below_it_with_the_whole_interval() {
        let measured = |ratio, invalid: Option<&str>| Measured {
            device: "local".into(),
            name: "m".into(),
            sha256: String::new(),
            median_ns: 1.0e6,
            interval_ns: (0.9e6, 1.1e6),
            minimum_ns: 0.8e6,
            p95_ns: 1.3e6,
            ratio,
            peak_memory_bytes: None,
            runtime: String::new(),
            notes: Vec::new(),
            invalid: invalid.map(Into::into),
            processes: Vec::new(),
            samples_ns: Vec::new(),
            board: None,
        };
        let cases = [
            ("0.7x", Some((0.6, 0.5, 0.7)), None, true),
            ("0.7x", Some((0.6, 0.5, 0.71)), None, false),
            ("0.7x", None, None, false),
            ("1.1ms", None, None, true),
            ("1ms", None, None, false),
            ("2ms", None, Some("too noisy"), false),
        ];
        for (budget, ratio, invalid, is_within) in cases {
            let budget: LatencyBudget = budget.parse().unwrap();
            assert_eq!(
                measured(ratio.map(Interval::from), invalid).is_within(&budget),
                is_within,
                "{budget} {ratio:?}"
            );
        }
    }
}
