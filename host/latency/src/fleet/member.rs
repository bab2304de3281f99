//! The devices of a fleet, and how long failed ones are set aside.

use std::time::{Duration, Instant};

use agent_protocol::DeviceInfo;
use serde::{Deserialize, Serialize};

use crate::LatencyError;

/// Settings of a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// The most models that a device takes at once. They are interleaved in one process, with a
    /// time limit in proportion.
    pub chunk: usize,
    /// One of this many candidates is measured on a second device as well, to compare the
    /// devices; 0 for none.
    pub check_every: u32,
    /// How long a failed device is set aside, ns; doubled with every further failure.
    pub back_off_ns: u64,
    /// The longest time that a device is set aside, ns.
    pub back_off_max_ns: u64,
}

impl Default for FleetConfig {
    fn default() -> Self {
        Self {
            chunk: 4,
            check_every: 8,
            back_off_ns: 30_000_000_000,
            back_off_max_ns: 600_000_000_000,
        }
    }
}

type Opener<S> = Box<dyn FnMut() -> Result<S, LatencyError> + Send>;

/// A device of a fleet.
pub struct Member<S> {
    pub(super) name: String,
    open: Opener<S>,
    pub(super) source: Option<S>,
    pub(super) away: Option<Away>,
}

/// The reason and duration for which a device is set aside.
#[derive(Clone, Debug)]
pub(super) struct Away {
    pub reason: String,
    pub times: u32,
    pub until: Instant,
}

impl<S> Member<S> {
    /// Creates a device that `open` connects to on first use, and again after a failed attempt.
    pub fn new(
        name: impl Into<String>,
        open: impl FnMut() -> Result<S, LatencyError> + Send + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            open: Box::new(open),
            source: None,
            away: None,
        }
    }

    /// Returns the connection; opens it if there is none.
    pub(super) fn source(&mut self) -> Result<&mut S, LatencyError> {
        match &mut self.source {
            Some(source) => Ok(source),
            slot => Ok(slot.insert((self.open)()?)),
        }
    }

    /// Sets the device aside until the returned time.
    pub(super) fn set_aside(&mut self, error: &LatencyError, config: &FleetConfig) -> Instant {
        let times = self.away.as_ref().map_or(0, |away| away.times) + 1;
        let wait = config
            .back_off_ns
            .saturating_mul(1 << (times - 1).min(32))
            .min(config.back_off_max_ns);
        tracing::warn!(device = self.name, %error, "the device is set aside");
        let until = Instant::now() + Duration::from_nanos(wait);
        self.away = Some(Away {
            reason: error.to_string(),
            times,
            until,
        });
        until
    }
}

/// The state of a device of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberState {
    /// Its name within the fleet.
    pub name: String,
    /// The device, once it was reached.
    pub device: Option<DeviceInfo>,
    /// The reason why it is set aside, if it is.
    pub set_aside: Option<String>,
    /// The number of failures since it last measured.
    pub failures: u32,
}
