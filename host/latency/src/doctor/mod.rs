//! Looks a device over: what is reachable, what would make its figures untrustworthy, and how to mend it.

mod checks;
mod sentinel;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent_protocol::{DeviceInfo, DeviceState, Evidence, Sampling, Verdict};
use serde::Serialize;

use crate::{AgentDevice, Client, LatencyError, LatencySource, MeasureRequest, Patience, Resolved};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it should be.
    Ok,
    /// Figures may suffer.
    Warning,
    /// Nothing can be measured, or nothing should be.
    Error,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What: `governor`, `clock`.
    pub check: &'static str,
    /// How bad.
    pub grade: Grade,
    /// What was seen.
    pub seen: String,
    /// What to do about it; empty when nothing is to be done.
    pub advice: String,
}

impl Finding {
    fn ok(check: &'static str, seen: impl Into<String>) -> Self {
        Self::graded(Grade::Ok, check, seen, "")
    }

    fn warning(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::graded(Grade::Warning, check, seen, advice)
    }

    fn error(check: &'static str, seen: impl Into<String>, advice: impl Into<String>) -> Self {
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

/// How far apart two measurements of the same network are, interleaved as candidates are.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Noise {
    /// Latency of the small network, ns.
    pub median_ns: f64,
    /// Ratio of the network to itself; 1 in a perfect world.
    pub ratio: f64,
    /// Half the ratio's 95 % interval, relative to it.
    pub interval_rel: f64,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// What the user calls the device.
    pub device: String,
    /// Its profile.
    pub profile: String,
    /// Where it is.
    pub place: String,
    /// In the order they were made; what a failed one stands in the way of is not there.
    pub findings: Vec<Finding>,
    /// The device as its agent describes it.
    pub info: Option<DeviceInfo>,
    /// Its state before the small network ran.
    pub state: Option<DeviceState>,
    /// How the small network did.
    pub noise: Option<Noise>,
}

impl Examination {
    /// The worst finding.
    pub fn grade(&self) -> Grade {
        let worst = self.findings.iter().map(|finding| finding.grade).max();
        worst.unwrap_or(Grade::Ok)
    }

    /// Whether it can be measured on.
    pub fn is_well(&self) -> bool {
        self.grade() < Grade::Error
    }
}

/// What the shell may take to answer.
const ANSWER: Duration = Duration::from_secs(20);

/// Looks a device over. What cannot be done is a finding, not an error.
pub fn examine(device: Resolved, patience: &Patience) -> Examination {
    let mut found = Examination {
        device: device.name.clone(),
        profile: device.profile.name.clone(),
        place: device.launcher.place(),
        findings: Vec::new(),
        info: None,
        state: None,
        noise: None,
    };
    if let Err(finding) = look(device, patience, &mut found) {
        found.findings.push(finding);
    }
    found
}

/// Goes from step to step as far as it gets.
fn look(device: Resolved, patience: &Patience, found: &mut Examination) -> Result<(), Finding> {
    if let Some(shell) = device
        .place
        .shell()
        .filter(|_| device.place.folder().is_some())
    {
        let begun = Instant::now();
        shell
            .ask("echo", ANSWER)
            .map_err(|error| failed("way", &error))?;
        let seen = format!(
            "{} answers in {} ms",
            found.place,
            begun.elapsed().as_millis()
        );
        found.findings.push(Finding::ok("way", seen));
    }
    let profile = device.profile;
    let mut agent = AgentDevice::start(device.launcher, &profile.name, patience.clone())
        .map_err(|error| failed("agent", &error))?;
    let info = agent.describe();
    found
        .findings
        .extend(checks::of_info(&info, &profile, &found.device));
    found.info = Some(info);
    let (state, clock_ns) = ask_state(&mut agent).map_err(|error| failed("state", &error))?;
    found.findings.push(checks::clock(clock_ns));
    found.findings.extend(checks::of_state(&state, &profile));
    found.state = Some(state);
    let (noise, finding) = measure(&mut agent, &profile)?;
    found.findings.push(finding);
    found.noise = Some(noise);
    Ok(())
}

fn failed(check: &'static str, error: &LatencyError) -> Finding {
    // The errors of devices say themselves what to do.
    Finding::error(check, error.to_string(), "")
}

/// The device's state and how far its clock is ahead of this machine's, ns.
fn ask_state(agent: &mut AgentDevice) -> Result<(DeviceState, i128), LatencyError> {
    let client: &mut Client = agent.client().ok_or_else(|| LatencyError::Connection {
        call: "asking for the device's state",
        detail: "the agent is gone".into(),
    })?;
    let (before, state, after) = (now(), client.device_state()?, now());
    // The device looked at its clock about half-way.
    let ahead = i128::from(state.taken_unix_ns) - (before + after) / 2;
    Ok((state, ahead))
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| i128::try_from(since.as_nanos()).unwrap_or(0))
}

/// Measures a small network against itself, with the profile's settings but no longer than two seconds.
fn measure(agent: &mut AgentDevice, profile: &crate::Profile) -> Result<(Noise, Finding), Finding> {
    const CHECK: &str = "noise";
    let sampling = Sampling {
        max_duration_ns: profile.sampling.max_duration_ns.min(2_000_000_000),
        warmup_ns: profile.sampling.warmup_ns.min(500_000_000),
        sustained_ns: 0,
        ..profile.sampling.clone()
    };
    let request = MeasureRequest {
        models: vec![sentinel::model("sentinel")],
        reference: Some(sentinel::model("sentinel-again")),
        sampling,
        limits: profile.limits.clone(),
        evidence: Evidence::Quick,
        runtime: profile.runtime.clone(),
        ..MeasureRequest::default()
    };
    let measured = agent
        .measure(&request)
        .map_err(|error| failed(CHECK, &error))?;
    let (Some(first), Some(ratio)) = (
        measured.first(),
        measured.first().and_then(|first| first.ratio),
    ) else {
        return Err(Finding::error(CHECK, "the agent gave no ratio", ""));
    };
    let noise = Noise {
        median_ns: first.median_ns,
        ratio: ratio.interval.value,
        interval_rel: ratio.ci_rel(),
    };
    if let Verdict::Invalid { reason } = &first.verdict {
        let advice = "mend what the other lines say, and look what else runs on the device";
        return Ok((noise, Finding::error(CHECK, reason.clone(), advice)));
    }
    Ok((noise, checks::noise(&noise, &profile.sampling)))
}
