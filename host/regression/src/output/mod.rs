//! Comparisons for people and for other programs.

mod text;

use std::time::Duration;

use latency::Model;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

use crate::compare::Change;
use crate::statistics::Estimates;
use crate::verdict::{Gravity, Verdict};

/// What became of one model on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The model's name.
    pub model: String,
    /// The device's name.
    pub device: String,
    /// The device's identity.
    pub device_id: String,
    /// Digest of the model.
    pub sha256: String,
    /// Latency, ns; `None` when it could not be measured.
    pub median_ns: Option<f64>,
    /// The latency's 95 % interval over processes, ns.
    pub median_ci95_ns: Option<(f64, f64)>,
    /// Processes of the worker that count.
    pub processes: usize,
    /// Latency of the baseline when it was saved, ns.
    pub baseline_ns: Option<f64>,
    /// The change, and how it was found; `None` without a baseline.
    pub change: Option<Change>,
    /// Whether old and new were measured interleaved, not years apart.
    pub interleaved: bool,
    /// What became of it.
    pub verdict: Verdict,
    /// Why it could not be measured or compared, or what else is to be known.
    pub notes: Vec<String>,
    /// Criterion's estimates over all rounds.
    pub statistics: Option<Estimates>,
}

impl Compared {
    /// A model that was not measured, with the reason.
    pub fn unmeasured(model: &Model, device: &str, reason: String) -> Self {
        Self {
            model: model.name().to_owned(),
            device: device.to_owned(),
            device_id: String::new(),
            sha256: model.sha256().to_string(),
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

/// What a run of the guard came to. All outputs and the exit code are made of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Each model on each device.
    pub all: Vec<Compared>,
    /// Largest change that is no regression, relative.
    pub threshold: f64,
    /// What kept the guard from its work, or from a part of it.
    pub failure: Option<String>,
}

impl Summary {
    /// The gravest of what it came to.
    pub fn gravity(&self) -> Gravity {
        let found = |gravity| self.all.iter().any(|c| c.verdict.gravity() == gravity);
        if found(Gravity::Failure) {
            Gravity::Failure
        } else if self.failure.is_some() || found(Gravity::Error) {
            Gravity::Error
        } else {
            Gravity::Success
        }
    }

    /// JUnit XML: a suite a device, a test case a model.
    ///
    /// # Errors
    /// When the writer fails.
    pub fn junit(&self) -> Result<String, quick_junit::SerializeError> {
        let mut report = Report::new("graphprune bench");
        let mut devices: Vec<&str> = self.all.iter().map(|c| c.device.as_str()).collect();
        devices.dedup();
        for device in devices {
            let mut suite = TestSuite::new(device);
            for compared in self.all.iter().filter(|c| c.device == device) {
                suite.add_test_case(self.case(compared));
            }
            report.add_test_suite(suite);
        }
        if let Some(failure) = &self.failure {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(failure);
            let mut suite = TestSuite::new("graphprune bench");
            suite.add_test_case(TestCase::new("the guard itself", status));
            report.add_test_suite(suite);
        }
        report.to_string()
    }

    fn case(&self, compared: &Compared) -> TestCase {
        let mut status = match compared.verdict.gravity() {
            Gravity::Success => TestCaseStatus::success(),
            Gravity::Failure => TestCaseStatus::non_success(NonSuccessKind::Failure),
            Gravity::Error => TestCaseStatus::non_success(NonSuccessKind::Error),
        };
        if compared.verdict.gravity() != Gravity::Success {
            status.set_message(text::sentence(compared, self.threshold));
        }
        let mut case = TestCase::new(&compared.model, status);
        case.set_classname(&compared.device);
        if let Some(ns) = compared.median_ns {
            case.set_time(Duration::from_nanos(ns as u64));
        }
        case
    }
}
