//! Which devices latency is measured on, as a user writes it.

use std::fmt;
use std::str::FromStr;

use latency::{LatencyError, Resolved};
use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Devices by name: `local`, a registered device, a profile (all registered devices of it) or the
/// path of a profile; several with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DeviceSpec {
    text: String,
}

impl DeviceSpec {
    /// Finds the devices, at least one.
    pub(crate) fn resolve(&self) -> Result<Vec<Resolved>, LatencyError> {
        latency::resolve_all(&self.text)
    }
}

impl Default for DeviceSpec {
    fn default() -> Self {
        Self {
            text: "local".into(),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        if text.split(',').all(|name| name.trim().is_empty()) {
            return Err(ConfigError::value("device", "no device is named"));
        }
        Ok(Self { text: text.into() })
    }
}

impl TryFrom<String> for DeviceSpec {
    type Error = ConfigError;

    fn try_from(text: String) -> Result<Self, ConfigError> {
        text.parse()
    }
}

impl From<DeviceSpec> for String {
    fn from(spec: DeviceSpec) -> Self {
        spec.text
    }
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
