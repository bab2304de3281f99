//! The findings of an examination.

use agent_protocol::{DeviceInfo, DeviceState};
use serde::Serialize;

/// The grade of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// No problem.
    Ok,
    /// Measurements may be less accurate.
    Warning,
    /// Measurements are impossible or invalid.
    Error,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check: `governor`, `clock`.
    pub check: &'static str,
    /// The grade.
    pub grade: Grade,
    /// The observation.
    pub seen: String,
    /// The remedy; empty if there is no problem.
    pub advice: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self::graded(Grade::Ok, check, seen, "")
    }

    pub(super) fn warning(
        check: &'static str,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::graded(Grade::Warning, check, seen, advice)
    }

    pub(super) fn error(
        check: &'static str,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::graded(Grade::Error, check, seen, advice)
    }

    fn graded(
        grade: Grade,
        check: &'static str,
        seen: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            grade,
            seen: seen.into(),
            advice: advice.into(),
        }
    }
}

/// The ratio of a small network to itself, interleaved as candidates are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Latency of the small network, ns.
    pub median_ns: f64,
    /// Ratio of the network to itself; 1 without noise.
    pub ratio: f64,
    /// Half the 95 % interval of the ratio, relative to it.
    pub interval_rel: f64,
}

/// The examination of a device.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// The user's name for the device.
    pub device: String,
    /// Its profile.
    pub profile: String,
    /// Its transport and address.
    pub place: String,
    /// The findings in order. An error that prevents further checks comes last.
    pub findings: Vec<Finding>,
    /// The agent's description of the device.
    pub info: Option<DeviceInfo>,
    /// Its state before the small network ran.
    pub state: Option<DeviceState>,
    /// The measurement of the small network.
    pub noise: Option<Noise>,
}

impl Examination {
    /// Returns the worst grade.
    pub fn grade(&self) -> Grade {
        let worst = self.findings.iter().map(|finding| finding.grade).max();
        worst.unwrap_or(Grade::Ok)
    }

    /// Returns whether the device can measure.
    pub fn is_well(&self) -> bool {
        self.grade() < Grade::Error
    }
}
