//! Why a worker ended without a result.

use agent_protocol::{Failure, FailureKind, Progress, wire};
use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::Signal;

use super::process::Ended;
use crate::worker::is_out_of_memory;

/// Returns how many processes the kernel has killed for lack of memory since it started, on the
/// whole system or in a group of processes; `None` where it does not count them.
pub fn oom_kills() -> Option<u64> {
    let counters = std::fs::read_to_string("/proc/vmstat").ok()?;
    let line = counters
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "))?;
    line.trim().parse().ok()
}

/// Returns the failure of a worker that ended by itself. `oom_kills_before` is [`oom_kills`] at
/// its start.
pub fn failure(
    last: &Progress,
    ended: &Ended,
    job: &wire::WorkerJob,
    oom_kills_before: Option<u64>,
) -> Failure {
    let limit = job.limits.map_or(0, |limits| limits.memory_bytes);
    let stderr = if ended.stderr.is_empty() {
        String::new()
    } else {
        format!(
            "; its standard error ends with: {}",
            ended.stderr.join(" / ")
        )
    };
    let memory_ran_out = oom_kills() > oom_kills_before;
    let starved = ended.stderr.iter().any(|line| is_out_of_memory(line));
    let (kind, what) = match ended.status.map(|status| (status.signal(), status.code())) {
        _ if starved => (
            FailureKind::OutOfMemory,
            format!("the worker ran into its memory limit of {limit} bytes"),
        ),
        Some((Some(number), _)) if number == Signal::SIGKILL as i32 && memory_ran_out => (
            FailureKind::OutOfMemory,
            "the kernel killed the worker because memory ran out".to_owned(),
        ),
        Some((Some(number), _)) => {
            let name =
                Signal::try_from(number).map_or_else(|_| number.to_string(), |s| s.to_string());
            let kind = if number == Signal::SIGXCPU as i32 {
                FailureKind::TimedOut
            } else {
                FailureKind::Crashed
            };
            (kind, format!("the worker was killed by {name}"))
        }
        Some((None, Some(code))) => (
            FailureKind::Crashed,
            format!("the worker ended with status {code}"),
        ),
        _ => (
            FailureKind::Crashed,
            "the worker ended in an unknown way".to_owned(),
        ),
    };
    Failure {
        kind,
        stage: last.stage,
        model: last.model.clone(),
        detail: format!("{what}{stderr}"),
    }
}
