//! Attribution of errors to the model, the device or the host.

use agent_protocol::FailureKind;

use crate::LatencyError;

/// The cause of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The model: it would fail on other devices as well.
    Model,
    /// The device: another one may succeed.
    Device,
    /// The host.
    Host,
}

impl Fault {
    /// Returns the cause of an error.
    pub fn of(error: &LatencyError) -> Self {
        match error {
            LatencyError::Model { .. } => Self::Model,
            LatencyError::Failed(failure) => match failure.kind {
                FailureKind::ModelRefused
                | FailureKind::Crashed
                | FailureKind::TimedOut
                | FailureKind::OutOfMemory
                | FailureKind::Provider => Self::Model,
                FailureKind::RuntimeMissing | FailureKind::Internal | FailureKind::Conditions => {
                    Self::Device
                }
            },
            LatencyError::Store { .. } | LatencyError::Profile { .. } => Self::Host,
            _ => Self::Device,
        }
    }
}

/// Combines the errors of all devices: that of a single device itself, else a list.
pub(super) fn no_device_left(
    errors: impl IntoIterator<Item = (impl Into<String>, LatencyError)>,
) -> LatencyError {
    let mut all: Vec<(String, LatencyError)> = errors
        .into_iter()
        .map(|(name, error)| (name.into(), error))
        .collect();
    if all.len() == 1
        && let Some((_, error)) = all.pop()
    {
        return error;
    }
    LatencyError::NoDeviceLeft {
        reasons: all
            .into_iter()
            .map(|(name, error)| (name, error.to_string()))
            .collect(),
    }
}
