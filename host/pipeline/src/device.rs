//! The device of a run: latency ratios to the original, with retries, through the measurement store.

use std::path::{Path, PathBuf};

use latency::{
    AgentDevice, Evidence, LatencyError, LatencySource, MeasureRequest, Measurement, Model,
    Patience, Profile, Remembering, Sampling, Store, Verdict, resolve,
};
use serde::{Deserialize, Serialize};

use crate::error::PipelineError;

/// Which device: `local`, or the path of a profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceSpec(pub String);

impl Default for DeviceSpec {
    fn default() -> Self {
        Self("local".into())
    }
}

/// How much a measurement may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effort {
    /// One of many in a search.
    Search,
    /// The figure of the final table: more rounds, a narrower interval, the full evidence.
    Final,
}

/// A latency relative to the original's, with what it stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub latency_ns: f64,
    pub interval_ns: (f64, f64),
    pub reference_ns: f64,
    pub reference_interval_ns: (f64, f64),
    pub model_sha256: String,
}

/// Measures networks against the original on one device. Valid measurements are stored and never taken twice.
pub struct Meter {
    source: Remembering<AgentDevice>,
    profile: Profile,
    attempts: u32,
    final_effort: f64,
    reference: Option<Model>,
}

impl Meter {
    /// Starts the device's agent and opens the store at `store`.
    ///
    /// # Errors
    /// When the profile is wrong, the agent cannot be started, or the store cannot be opened.
    pub fn start(
        spec: &DeviceSpec,
        store: &Path,
        attempts: u32,
        final_effort: f64,
    ) -> Result<Self, PipelineError> {
        let found = resolve(&spec.0)?;
        let profile = found.profile;
        let device = AgentDevice::start(found.launcher, &profile.name, Patience::default())?;
        let source = Remembering::new(device, Store::open(store)?)?;
        Ok(Self {
            source,
            profile,
            attempts,
            final_effort,
            reference: None,
        })
    }

    /// The network that every other is interleaved with.
    pub fn set_reference(&mut self, name: &str, onnx: Vec<u8>) {
        self.reference = Some(Model::new(name, onnx));
    }

    /// The device in one line.
    #[must_use]
    pub fn describe(&self) -> String {
        let info = self.source.describe();
        format!(
            "{} ({}, {} cores, {} {}), ONNX Runtime {}, {} thread(s)",
            self.profile.name,
            info.cpu_model,
            info.cores,
            info.os,
            info.arch,
            info.runtime_version,
            self.profile.sampling.threads
        )
    }

    fn sampling(&self, effort: Effort) -> Sampling {
        let search = self.profile.sampling.clone();
        match effort {
            Effort::Search => search,
            // Four times the rounds halve the interval.
            Effort::Final => Sampling {
                min_rounds: (f64::from(search.min_rounds) * self.final_effort) as u32,
                max_duration_ns: (search.max_duration_ns as f64 * self.final_effort) as u64,
                ci_target_rel: search.ci_target_rel / self.final_effort.sqrt(),
                ..search
            },
        }
    }

    /// Measures a network and the reference, interleaved.
    pub(crate) fn ratio(
        &mut self,
        name: &str,
        onnx: Vec<u8>,
        effort: Effort,
    ) -> Result<Ratio, PipelineError> {
        let (measured, reference) = self.measure(name, onnx, effort)?;
        let ratio = measured.ratio.ok_or_else(|| PipelineError::NoMeasurement {
            model: name.into(),
            device: self.profile.name.clone(),
            attempts: 1,
            reason: "the agent gave no ratio to the reference".into(),
        })?;
        Ok(Ratio {
            median: ratio.median,
            low: ratio.low,
            high: ratio.high,
            latency_ns: measured.median_ns,
            interval_ns: measured.ci95_ns,
            reference_ns: reference.median_ns,
            reference_interval_ns: reference.ci95_ns,
            model_sha256: measured.model_sha256.to_string(),
        })
    }

    fn measure(
        &mut self,
        name: &str,
        onnx: Vec<u8>,
        effort: Effort,
    ) -> Result<(Measurement, Measurement), PipelineError> {
        let request = MeasureRequest {
            models: vec![Model::new(name, onnx)],
            reference: self.reference.clone(),
            sampling: self.sampling(effort),
            limits: self.profile.limits.clone(),
            evidence: if effort == Effort::Final {
                Evidence::Full
            } else {
                Evidence::Quick
            },
            runtime: self.profile.runtime.clone(),
            conditions: self.profile.conditions.clone(),
        };
        let mut reason = String::new();
        for _ in 0..self.attempts.max(1) {
            match self.source.measure(&request) {
                Ok(mut measurements) => {
                    let reference = measurements.pop();
                    let measured = measurements.pop();
                    match (measured, reference) {
                        (Some(m), Some(r)) => match (&m.verdict, &r.verdict) {
                            (Verdict::Valid, Verdict::Valid) => return Ok((m, r)),
                            (Verdict::Invalid { reason: why }, _)
                            | (_, Verdict::Invalid { reason: why }) => {
                                reason.clone_from(why);
                            }
                        },
                        _ => reason = "the agent returned no measurement".into(),
                    }
                }
                Err(LatencyError::Failed(failure)) => reason = failure.to_string(),
                Err(e) => return Err(e.into()),
            }
        }
        Err(PipelineError::NoMeasurement {
            model: name.into(),
            device: self.profile.name.clone(),
            attempts: self.attempts,
            reason,
        })
    }

    /// Runs a model once on the device: the first output for `images` (shape NCHW), row-major.
    pub(crate) fn run(
        &mut self,
        name: &str,
        onnx: &[u8],
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>, PipelineError> {
        let model = Model::new(name, onnx.to_vec());
        Ok(self
            .source
            .source_mut()
            .run(&model, images, &shape, &self.profile.runtime)?)
    }

    /// Every measurement of the store that was taken of the model with this digest, newest last.
    pub(crate) fn evidence(&self, sha256: &str) -> Result<Vec<Measurement>, PipelineError> {
        let all = self.source.store().all()?;
        Ok(all
            .into_iter()
            .map(|r| r.measurement)
            .filter(|m| m.model_sha256.to_string() == sha256)
            .collect())
    }

    /// How many measurements the store holds, and how many of them are valid.
    pub(crate) fn counts(&self) -> Result<(u64, u64), PipelineError> {
        Ok(self.source.store().count()?)
    }

    /// Reasons of the invalid measurements in the store.
    pub(crate) fn rejections(&self) -> Result<Vec<String>, PipelineError> {
        let reasons =
            self.source
                .store()
                .all()?
                .into_iter()
                .filter_map(|r| match r.measurement.verdict {
                    Verdict::Invalid { reason } => Some(reason),
                    Verdict::Valid => None,
                });
        Ok(reasons.collect())
    }

    pub(crate) fn info(&self) -> latency::DeviceInfo {
        self.source.describe()
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// A measurement, for people and JSON.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Median latency, nanoseconds.
    pub median_ns: f64,
    /// 95 % interval of the median, nanoseconds.
    pub interval_ns: (f64, f64),
    /// Fastest run, nanoseconds.
    pub minimum_ns: f64,
    /// 95th percentile, nanoseconds.
    pub p95_ns: f64,
    /// To the first model: median, low and high end of the 95 % interval.
    pub ratio: Option<(f64, f64, f64)>,
    /// Peak memory of a process of its own, bytes.
    pub peak_memory_bytes: Option<u64>,
    /// Runtime, version, threads, providers in one line.
    pub runtime: String,
    /// Why it may not be used, if so.
    pub invalid: Option<String>,
    /// Every timed run, nanoseconds.
    pub samples_ns: Vec<u64>,
}

/// Measures ONNX files on a device; the first is the reference the others are interleaved with.
///
/// # Errors
/// When a file cannot be read, is no model that the channel rules' reader takes, or cannot be measured.
pub fn measure_models(
    spec: &DeviceSpec,
    files: &[PathBuf],
    effort: f64,
) -> Result<Vec<Measured>, PipelineError> {
    let found = resolve(&spec.0)?;
    let profile = found.profile;
    let mut models = Vec::new();
    for file in files {
        // Reading it here gives a better message about a broken file than the device could.
        crate::model::read_model_file(file)?;
        let bytes =
            std::fs::read(file).map_err(|e| PipelineError::io(file, "read the model", e))?;
        models.push(Model::new(file.display().to_string(), bytes));
    }
    let mut device = AgentDevice::start(found.launcher, &profile.name, Patience::default())?;
    let reference = if models.len() > 1 {
        Some(models.remove(0))
    } else {
        None
    };
    let sampling = Sampling {
        min_rounds: (f64::from(profile.sampling.min_rounds) * effort.max(0.1)).max(6.0) as u32,
        max_duration_ns: (profile.sampling.max_duration_ns as f64 * effort.max(0.1)) as u64,
        ci_target_rel: profile.sampling.ci_target_rel / effort.max(0.1).sqrt(),
        ..profile.sampling
    };
    let request = MeasureRequest {
        models,
        reference,
        sampling,
        limits: profile.limits,
        evidence: Evidence::Full,
        runtime: profile.runtime,
        conditions: profile.conditions,
    };
    let mut measured = device.measure(&request)?;
    if request.reference.is_some() {
        measured.rotate_right(1);
    }
    Ok(measured.into_iter().map(summarise).collect())
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
        "ONNX Runtime {}, {} thread(s){placed}",
        m.runtime.version, m.runtime.threads
    )
}

fn summarise(m: Measurement) -> Measured {
    let invalid = match &m.verdict {
        Verdict::Valid => None,
        Verdict::Invalid { reason } => Some(reason.clone()),
    };
    Measured {
        sha256: m.model_sha256.to_string(),
        median_ns: m.median_ns,
        interval_ns: m.ci95_ns,
        minimum_ns: m.min_ns as f64,
        p95_ns: m.p95_ns,
        ratio: m.ratio.map(|r| (r.median, r.low, r.high)),
        peak_memory_bytes: m.peak_memory_bytes,
        runtime: runtime_line(&m),
        invalid,
        samples_ns: m.samples_ns,
        name: m.name,
    }
}
