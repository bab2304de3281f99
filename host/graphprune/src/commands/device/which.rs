//! The device of a sub-command.

use latency::Resolved;

/// A device by its name or its address.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// Name of the device, `local`, or with --profile its address
    #[arg(value_name = "DEVICE")]
    device: String,
    /// Profile of a device given by its address: a name or a file
    #[arg(long, value_name = "PROFILE")]
    profile: Option<String>,
}

impl Which {
    /// Finds the device.
    pub fn resolve(&self) -> Result<Resolved, latency::LatencyError> {
        match &self.profile {
            Some(profile) => latency::resolve_address(&self.device, profile),
            None => latency::resolve(&self.device),
        }
    }
}
