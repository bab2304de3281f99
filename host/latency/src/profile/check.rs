//! Checks of a profile beyond its syntax.

use agent_protocol::RegisterStep;

use super::settings::{Profile, TransportKind};

/// The fastest clock of a microcontroller, Hz.
const MOST_HZ: u64 = 4_000_000_000;
/// With a larger difference a clock is another one.
const MOST_TOLERANCE: f64 = 0.1;
/// The longest serial number of a chip, in words.
const MOST_ID: usize = 8;

/// A named check, with the problem as its error.
type Check = (&'static str, fn(&Profile) -> Result<(), String>);

const CHECKS: &[Check] = &[
    ("name", |profile| {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !profile.name.is_empty() && profile.name.len() <= 64 && profile.name.chars().all(plain) {
            return Ok(());
        }
        Err(format!(
            "`{}` must be 1 to 64 lower-case letters, digits or hyphens",
            profile.name
        ))
    }),
    ("sampling", |profile| {
        profile.sampling.check().map_err(|error| error.to_string())
    }),
    ("limits", |profile| {
        profile.limits.check().map_err(|error| error.to_string())
    }),
    ("runtime", |profile| {
        profile.runtime.check().map_err(|error| error.to_string())
    }),
    ("conditions", |profile| {
        profile
            .conditions
            .check()
            .map_err(|error| error.to_string())
    }),
    ("time", |profile| {
        let (limit, need) = (
            profile.limits.time_ns,
            profile
                .sampling
                .warmup_ns
                .saturating_add(profile.sampling.sustained_ns)
                .saturating_add(profile.sampling.max_duration_ns),
        );
        if limit > need {
            return Ok(());
        }
        Err(format!(
            "limits.time_ns ({limit}) must be longer than sampling.warmup_ns, sustained_ns and max_duration_ns together ({need})"
        ))
    }),
    ("window", |profile| {
        match profile.board {
        None if profile.sampling.window_ns > 0 => Err(
            "sampling.window_ns is of bare-metal boards: other devices run blocks, sampling.block_ns".into(),
        ),
        _ => Ok(()),
    }
    }),
    ("board", |profile| {
        let Some(board) = &profile.board else {
            return match profile.transport {
                TransportKind::Probe => Err("the transport `probe` needs a [board]".into()),
                _ => Ok(()),
            };
        };
        let clock = &board.clock;
        if board.id.len() > MOST_ID || board.id.iter().any(|at| !at.is_multiple_of(4)) {
            return Err(format!(
                "id must be the addresses of at most {MOST_ID} words, multiples of 4"
            ));
        }
        let is_sound =
            |step: &&RegisterStep| step.address.is_multiple_of(4) && step.value & !step.mask == 0;
        if let Some(step) = clock.steps.iter().find(|step| !is_sound(step)) {
            return Err(format!(
                "clock.steps: {:#x} must be a multiple of 4, and its value {:#x} within its mask {:#x}",
                step.address, step.value, step.mask
            ));
        }
        if clock.wait_states.is_some_and(|field| !field.is_sound()) {
            return Err("clock.wait_states: the address must be a multiple of 4, and the mask bits side by side".into());
        }
        if profile.transport != TransportKind::Probe {
            return Err("a [board] is reached by the transport `probe`".into());
        }
        if board.chip.is_empty() {
            return Err("chip is empty: name one as probe-rs does".into());
        }
        if clock.hz == 0 || clock.hz > MOST_HZ {
            return Err(format!(
                "clock.hz ({}) must be from 1 to {MOST_HZ}",
                clock.hz
            ));
        }
        if !(clock.tolerance_rel > 0.0 && clock.tolerance_rel <= MOST_TOLERANCE) {
            return Err(format!(
                "clock.tolerance_rel ({}) must be above 0 and at most {MOST_TOLERANCE}",
                clock.tolerance_rel
            ));
        }
        Ok(())
    }),
    ("cores", |profile| {
        let (cores, threads) = (
            profile.sampling.cores.len(),
            profile.sampling.threads as usize,
        );
        if cores == 0 || threads <= cores {
            return Ok(());
        }
        Err(format!(
            "sampling.threads is {threads}, but the worker is bound to {cores} cores"
        ))
    }),
];

/// Returns the problems of a profile, each with the name of its check.
pub(super) fn problems(profile: &Profile) -> Vec<String> {
    CHECKS
        .iter()
        .filter_map(|(name, check)| {
            check(profile)
                .err()
                .map(|message| format!("{name}: {message}"))
        })
        .collect()
}
