//! The doctor: examines whether a device is reachable and its measurements trustworthy, with
//! remedies.

mod checks;
mod examination;
mod sentinel;

use std::time::{Duration, Instant};

use agent_protocol::{Conditions, DeviceState, Evidence, Sampling, Verdict};

use crate::moment::now_unix_ns;
use crate::{
    AgentDevice, Client, LatencyError, LatencySource, MeasureRequest, Patience, Profile, Resolved,
};
pub use examination::{Examination, Finding, Grade, Noise};

/// Time limit of the shell's answer.
const ANSWER: Duration = Duration::from_secs(20);

/// Examines a device. Failures become findings.
pub fn examine(device: Resolved, patience: &Patience) -> Examination {
    let mut examination = Examination {
        device: device.name.clone(),
        profile: device.profile.name.clone(),
        place: device.launcher.place(),
        findings: Vec::new(),
        info: None,
        state: None,
        noise: None,
    };
    if let Err(finding) = run(device, patience, &mut examination) {
        examination.findings.push(finding);
    }
    examination
}

/// Runs the checks in order until one prevents the next.
fn run(device: Resolved, patience: &Patience, result: &mut Examination) -> Result<(), Finding> {
    if let Some(shell) = device
        .transport
        .shell()
        .filter(|_| device.transport.folder().is_some())
    {
        let begun = Instant::now();
        shell
            .output("echo", ANSWER)
            .map_err(|error| failed("way", &error))?;
        let seen = format!(
            "{} answers in {} ms",
            result.place,
            begun.elapsed().as_millis()
        );
        result.findings.push(Finding::ok("way", seen));
    }
    // The way that is taken decides how an agent is renewed, not the profile's usual one.
    let profile = Profile {
        transport: device.transport.kind(),
        ..device.profile
    };
    let mut agent = AgentDevice::start(device.launcher, &profile.name, patience.clone())
        .map_err(|error| failed("agent", &error))?;
    let info = agent.describe();
    result
        .findings
        .extend(checks::of_info(&info, &profile, &result.device));
    result.info = Some(info);
    let (state, clock_ns) = request_state(&mut agent).map_err(|error| failed("state", &error))?;
    result.findings.push(checks::clock(clock_ns));
    if profile.board.is_some() {
        // The state is that of the agent's machine, on which a board's times do not depend.
        result.findings.extend(run_on_board(&mut agent, &profile)?);
        return Ok(());
    }
    result.findings.extend(checks::of_state(&state, &profile));
    result.state = Some(state);
    let (noise, finding) = measure(&mut agent, &profile)?;
    result.findings.push(finding);
    result.noise = Some(noise);
    Ok(())
}

fn failed(check: &'static str, error: &LatencyError) -> Finding {
    // The errors of devices include the remedy.
    Finding::error(check, error.to_string(), "")
}

/// Requests the device's state. Returns it with the lead of the device's clock over this
/// machine's, ns.
fn request_state(agent: &mut AgentDevice) -> Result<(DeviceState, i128), LatencyError> {
    let client: &mut Client = agent.client().ok_or_else(|| LatencyError::Connection {
        call: "asking for the device's state",
        detail: "the agent is gone".into(),
    })?;
    let (before, state, after) = (now_unix_ns(), client.device_state()?, now_unix_ns());
    // The device reads its clock about half-way.
    let here = (i128::from(before) + i128::from(after)) / 2;
    let ahead = i128::from(state.taken_unix_ns) - here;
    Ok((state, ahead))
}

/// Measures a small network in integers on a board: this opens its probe, writes the firmware, and
/// verifies core and clock.
fn run_on_board(agent: &mut AgentDevice, profile: &Profile) -> Result<Vec<Finding>, Finding> {
    const CHECK: &str = "board";
    let request = MeasureRequest {
        evidence: Evidence::Full,
        ..profile.request(vec![sentinel::integer_model("sentinel")], None)
    };
    let measured = agent
        .measure(&request)
        .map_err(|error| failed(CHECK, &error))?;
    let board = measured
        .first()
        .and_then(|first| Some((first, first.runtime.board.as_ref()?)));
    let (first, board) =
        board.ok_or_else(|| Finding::error(CHECK, "the agent returned no measurement", ""))?;
    if let Verdict::Invalid { reason } = &first.verdict {
        return Err(Finding::error(CHECK, reason.clone(), ""));
    }
    Ok(checks::of_board(first, board))
}

/// Measures a small network against itself with the profile's settings, for at most two seconds.
fn measure(agent: &mut AgentDevice, profile: &Profile) -> Result<(Noise, Finding), Finding> {
    const CHECK: &str = "noise";
    let sampling = Sampling {
        max_duration_ns: profile.sampling.max_duration_ns.min(2_000_000_000),
        warmup_ns: profile.sampling.warmup_ns.min(500_000_000),
        sustained_ns: 0,
        ..profile.sampling.clone()
    };
    let again = sentinel::model("sentinel-again");
    let request = MeasureRequest {
        sampling,
        // A hot device is a finding of its own and must not delay this one.
        conditions: Conditions::default(),
        ..profile.request(vec![sentinel::model("sentinel")], Some(again))
    };
    let measured = agent
        .measure(&request)
        .map_err(|error| failed(CHECK, &error))?;
    let (Some(first), Some(ratio)) = (
        measured.first(),
        measured.first().and_then(|first| first.ratio),
    ) else {
        return Err(Finding::error(CHECK, "the agent returned no ratio", ""));
    };
    let noise = Noise {
        median_ns: first.median_ns,
        ratio: ratio.interval.value,
        interval_rel: ratio.ci_rel(),
    };
    if let Verdict::Invalid { reason } = &first.verdict {
        let advice = "fix the other findings, and check what else runs on the device";
        return Ok((noise, Finding::error(CHECK, reason.clone(), advice)));
    }
    Ok((noise, checks::noise(&noise, &profile.sampling)))
}
