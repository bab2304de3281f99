//! Comparisons for people and for other programs.

mod text;

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde::Serialize;

pub use text::{markdown, table};

use crate::compare::{Change, Verdict};
use crate::statistics::Estimates;

/// Everything that can become of a model on a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It could not be measured.
    Unmeasured,
    /// There was nothing to compare it with.
    NoBaseline,
    /// [`Verdict::Fine`].
    Fine,
    /// [`Verdict::Improved`].
    Improved,
    /// [`Verdict::Regressed`].
    Regressed,
    /// [`Verdict::Undecided`].
    Undecided,
}

impl Outcome {
    const ALL: [Self; 6] = [
        Self::Unmeasured,
        Self::NoBaseline,
        Self::Fine,
        Self::Improved,
        Self::Regressed,
        Self::Undecided,
    ];

    /// The word that the history keeps.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unmeasured => "unmeasured",
            Self::NoBaseline => "no_baseline",
            Self::Fine => "fine",
            Self::Improved => "improved",
            Self::Regressed => "regressed",
            Self::Undecided => "undecided",
        }
    }

    /// The outcome that the history's word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.word() == word)
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unmeasured => "not measured",
            Self::NoBaseline => "no baseline",
            Self::Fine => "fine",
            Self::Improved => "improved",
            Self::Regressed => "REGRESSED",
            Self::Undecided => "too noisy to tell",
        })
    }
}

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
    /// The verdict; `None` without a baseline.
    pub verdict: Option<Verdict>,
    /// Why it could not be measured or compared, or what else is to be known.
    pub notes: Vec<String>,
    /// Criterion's estimates over all rounds.
    pub statistics: Option<Estimates>,
}

impl Compared {
    /// Whether nothing is known of it that a guard could act on.
    pub fn is_unmeasured(&self) -> bool {
        self.median_ns.is_none() || self.verdict == Some(Verdict::Undecided)
    }

    /// What became of it, in one word.
    pub fn outcome(&self) -> Outcome {
        match &self.verdict {
            _ if self.median_ns.is_none() => Outcome::Unmeasured,
            None => Outcome::NoBaseline,
            Some(Verdict::Fine) => Outcome::Fine,
            Some(Verdict::Improved) => Outcome::Improved,
            Some(Verdict::Regressed) => Outcome::Regressed,
            Some(Verdict::Undecided) => Outcome::Undecided,
        }
    }
}

/// JUnit XML: a suite a device, a test case a model.
///
/// # Errors
/// When the writer fails.
pub fn junit(all: &[Compared], threshold: f64) -> Result<String, quick_junit::SerializeError> {
    let mut report = Report::new("graphprune bench");
    let mut devices: Vec<&str> = all.iter().map(|c| c.device.as_str()).collect();
    devices.dedup();
    for device in devices {
        let mut suite = TestSuite::new(device);
        for compared in all.iter().filter(|c| c.device == device) {
            suite.add_test_case(case(compared, threshold));
        }
        report.add_test_suite(suite);
    }
    report.to_string()
}

fn case(compared: &Compared, threshold: f64) -> TestCase {
    let mut status = if compared.is_unmeasured() {
        TestCaseStatus::non_success(NonSuccessKind::Error)
    } else if compared.verdict == Some(Verdict::Regressed) {
        TestCaseStatus::non_success(NonSuccessKind::Failure)
    } else {
        TestCaseStatus::success()
    };
    if !matches!(status, TestCaseStatus::Success { .. }) {
        status.set_message(text::sentence(compared, threshold));
    }
    let mut case = TestCase::new(&compared.model, status);
    case.set_classname(&compared.device);
    if let Some(ns) = compared.median_ns {
        case.set_time(Duration::from_nanos(ns as u64));
    }
    case
}
