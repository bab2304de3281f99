//! The result of a run of the guard. Every output and the exit code are derived from it.

use latency::Model;
use serde::Serialize;

use crate::compare::Change;
use crate::statistics::Estimates;
use crate::verdict::{Severity, Verdict};

/// The comparison of one model on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// The device's identity.
    pub device_id: String,
    /// The digest of the model.
    pub sha256: String,
    /// Bytes of the model's file.
    pub bytes: usize,
    /// Bytes of the baseline's, if it was kept.
    pub baseline_bytes: Option<usize>,
    /// Peak memory of a process of its own, bytes, where the device measures it.
    pub peak_memory_bytes: Option<u64>,
    /// That of the baseline.
    pub baseline_peak_memory_bytes: Option<u64>,
    /// How long the comparison took, seconds.
    pub seconds: f64,
    /// Median latency, ns; `None` if the model could not be measured.
    pub median_ns: Option<f64>,
    /// The 95 % interval of the latency over worker processes, ns.
    pub median_ci95_ns: Option<(f64, f64)>,
    /// Number of valid worker processes.
    pub processes: usize,
    /// Median latency when the baseline was saved, ns.
    pub baseline_ns: Option<f64>,
    /// The change against the baseline; `None` if there is none to compare with.
    pub change: Option<Change>,
    /// Whether old and new were measured interleaved in the same processes.
    pub interleaved: bool,
    /// The verdict.
    pub verdict: Verdict,
    /// Reasons for a missing measurement or comparison, and further remarks.
    pub notes: Vec<String>,
    /// Criterion's estimates over all rounds; `None` for too few rounds.
    pub statistics: Option<Estimates>,
}

impl Compared {
    /// Creates the entry of a model that was not measured.
    pub fn unmeasured(model: &Model, device: &str, reason: String) -> Self {
        Self {
            model: model.name().to_owned(),
            device: device.to_owned(),
            device_id: String::new(),
            sha256: model.sha256().to_string(),
            bytes: model.onnx().len(),
            baseline_bytes: None,
            peak_memory_bytes: None,
            baseline_peak_memory_bytes: None,
            seconds: 0.0,
            median_ns: None,
            median_ci95_ns: None,
            processes: 0,
            baseline_ns: None,
            change: None,
            interleaved: false,
            verdict: Verdict::Unmeasured,
            notes: vec![reason],
            statistics: None,
        }
    }
}

/// The result of a run of the guard.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// One entry per model and device.
    pub all: Vec<Compared>,
    /// The largest relative change that is not a regression.
    pub threshold: f64,
    /// Name of the baseline, if there is one.
    pub baseline: Option<String>,
    /// Label of the run.
    pub label: String,
    /// The error that ended the run early.
    pub failure: Option<String>,
}

impl Summary {
    /// Returns the highest severity of the entries and the failure.
    pub fn severity(&self) -> Severity {
        let any = |severity| self.all.iter().any(|c| c.verdict.severity() == severity);
        if any(Severity::Failure) {
            Severity::Failure
        } else if self.failure.is_some() || any(Severity::Error) {
            Severity::Error
        } else {
            Severity::Success
        }
    }
}
