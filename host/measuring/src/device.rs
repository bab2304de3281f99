//! A device with or without a store before it.

use latency::{
    AgentDevice, DeviceInfo, LatencyError, LatencySource, MeasureRequest, Measurement, Remembering,
};

/// A device of a session.
pub(crate) enum Device {
    /// Measures everything anew.
    Plain(Box<AgentDevice>),
    /// Measures nothing that its store holds.
    Stored(Box<Remembering<AgentDevice>>),
}

impl Device {
    /// The device itself, for requests that no store answers.
    pub fn agent(&mut self) -> &mut AgentDevice {
        match self {
            Self::Plain(device) => device,
            Self::Stored(stored) => stored.source_mut(),
        }
    }
}

impl LatencySource for Device {
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        match self {
            Self::Plain(device) => device.measure(request),
            Self::Stored(stored) => stored.measure(request),
        }
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        match self {
            Self::Plain(device) => device.recall(request),
            Self::Stored(stored) => stored.recall(request),
        }
    }

    fn describe(&self) -> DeviceInfo {
        match self {
            Self::Plain(device) => device.describe(),
            Self::Stored(stored) => stored.describe(),
        }
    }
}
