//! The answers of a fleet.

use agent_protocol::Measurement;

use crate::LatencyError;

/// A measurement with the device that took it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The device's name within the fleet.
    pub device: String,
    /// The device's identity ([`DeviceInfo::id`](crate::DeviceInfo::id)).
    pub device_id: String,
    /// The measurement.
    pub measurement: Measurement,
    /// The reference on the same device, interleaved with this model or measured there before;
    /// `None` without one in the request.
    pub reference: Option<Measurement>,
}

/// The result of one model. An error concerns this model alone.
pub type ModelResult = Result<Answer, LatencyError>;

/// The results of a request on every device.
#[derive(Debug, Default)]
pub struct PerDevice {
    /// The measurements of each device, by its name: one per model, then that of the reference.
    pub measured: Vec<(String, Vec<Measurement>)>,
    /// The devices that failed.
    pub failed: Vec<(String, LatencyError)>,
}
