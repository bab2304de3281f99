//! Signs that a device changed its pace, or that other programs used it, while it was measured.

use serde::{Deserialize, Serialize};

use crate::{DeviceState, wire};

/// The share of its sampling that an undisturbed process may wait for a core.
pub const CONTENDED: f64 = 0.05;
/// The change of the sentinel's time, relative, within an undisturbed process, where a profile does
/// not say otherwise.
pub const CHANGED: f64 = 0.1;

/// Flags of a Raspberry Pi's firmware for throttling now: low voltage, frequency capped,
/// throttled, soft limit.
const FIRMWARE_NOW: u32 = 0xf;
/// The same since the system started.
const FIRMWARE_EVER: u32 = 0xf_0000;

/// Times of a fixed workload that the worker runs before and after the samples. A change means
/// that the device changed its pace, not the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sentinel {
    /// Before the samples, ns.
    pub before_ns: u64,
    /// After them, ns.
    pub after_ns: u64,
}

impl From<wire::Sentinel> for Sentinel {
    fn from(m: wire::Sentinel) -> Self {
        Self {
            before_ns: m.before_ns,
            after_ns: m.after_ns,
        }
    }
}

impl From<Sentinel> for wire::Sentinel {
    fn from(sentinel: Sentinel) -> Self {
        Self {
            before_ns: sentinel.before_ns,
            after_ns: sentinel.after_ns,
        }
    }
}

/// How long the thread that runs the models was ready to run and waited for a core while it
/// sampled, from the kernel's `schedstat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contention {
    /// Time spent waiting, ns.
    pub waiting_ns: u64,
    /// Duration of the sampling, ns.
    pub elapsed_ns: u64,
}

impl Contention {
    /// Returns the share of the sampling that was spent waiting, 0 to 1.
    pub fn share(self) -> f64 {
        (self.waiting_ns as f64 / self.elapsed_ns.max(1) as f64).min(1.0)
    }
}

impl From<wire::Contention> for Contention {
    fn from(m: wire::Contention) -> Self {
        Self {
            waiting_ns: m.waiting_ns,
            elapsed_ns: m.elapsed_ns,
        }
    }
}

impl From<Contention> for wire::Contention {
    fn from(contention: Contention) -> Self {
        Self {
            waiting_ns: contention.waiting_ns,
            elapsed_ns: contention.elapsed_ns,
        }
    }
}

/// Returns how a device was throttled between two states, by the counters of the cores and the
/// flags of the firmware.
///
/// ```
/// use agent_protocol::{DeviceState, pace};
///
/// let state = |flags| DeviceState { firmware_throttled: flags, ..DeviceState::default() };
/// assert!(pace::throttling(&state(Some(0)), &state(Some(4))).is_some());
/// assert!(pace::throttling(&state(None), &state(None)).is_none());
/// ```
pub fn throttling(before: &DeviceState, after: &DeviceState) -> Option<String> {
    let pairs = before.cores.iter().zip(&after.cores);
    let times: u64 = pairs
        .filter_map(|(before, after)| after.throttle_count?.checked_sub(before.throttle_count?))
        .sum();
    if times > 0 {
        return Some(format!("the device was throttled {times} times"));
    }
    let (before, after) = (
        before.firmware_throttled.unwrap_or(0),
        after.firmware_throttled?,
    );
    let bits = (before | after) & FIRMWARE_NOW | after & !before & FIRMWARE_EVER;
    (bits != 0).then(|| {
        format!("the firmware reported low voltage or throttling (bits {bits:#x} of get_throttled)")
    })
}

/// Returns a description of the change of the sentinel's time if it is more than `most`, relative
/// to before.
pub fn change(sentinel: Sentinel, most: f64) -> Option<String> {
    let Sentinel {
        before_ns,
        after_ns,
    } = sentinel;
    let change = after_ns as f64 / before_ns.max(1) as f64 - 1.0;
    (change.abs() > most).then(|| {
        format!(
            "the device became {:.0} % {} while it was measured, by a fixed workload ({:.3} ms before, {:.3} ms after)",
            change.abs() * 100.0,
            if change > 0.0 { "slower" } else { "faster" },
            before_ns as f64 / 1e6,
            after_ns as f64 / 1e6
        )
    })
}

/// Whether a process was disturbed: it waited for a core, or the device changed its pace.
pub fn is_disturbed(sentinel: Option<Sentinel>, contention: Option<Contention>) -> bool {
    contention.is_some_and(|contention| contention.share() > CONTENDED)
        || sentinel.is_some_and(|sentinel| change(sentinel, CHANGED).is_some())
}
