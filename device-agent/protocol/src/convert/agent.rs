//! Messages to checked types and back: what the agent tells about itself.

use crate::check::{count, name, need, within};
use crate::types::{DeviceState, Progress};
use crate::{ProtocolError, bounds, wire};

/// What has the device's turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// The address of whoever asked.
    pub client: String,
    /// The models' names, the reference's last.
    pub models: Vec<String>,
    /// How far it is.
    pub progress: Progress,
    /// Since its turn came, ns.
    pub elapsed_ns: u64,
}

/// What an agent does and holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentState {
    /// What is measured or run now; `None`: the device is free.
    pub activity: Option<Activity>,
    /// Measurements and runs that wait for their turn.
    pub queued: u32,
    /// Since the agent started, ns.
    pub uptime_ns: u64,
    /// Models held.
    pub models: u32,
    /// Their bytes.
    pub model_bytes: u64,
    /// The most bytes that models may take together.
    pub model_limit_bytes: u64,
    /// Connections open.
    pub connections: u32,
}

/// The state of a device and its agent at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorEvent {
    /// The device.
    pub device: DeviceState,
    /// The agent.
    pub agent: AgentState,
}

impl TryFrom<wire::Activity> for Activity {
    type Error = ProtocolError;

    fn try_from(m: wire::Activity) -> Result<Self, ProtocolError> {
        const M: &str = "Activity";
        count(M, "models", &m.models, bounds::MAX_MODELS + 1)?;
        let models = m.models.into_iter().map(|text| name(M, "models", text));
        Ok(Self {
            client: name(M, "client", m.client)?,
            models: models.collect::<Result<_, _>>()?,
            progress: need(M, "progress", m.progress)?.try_into()?,
            elapsed_ns: m.elapsed_ns,
        })
    }
}

impl From<Activity> for wire::Activity {
    fn from(a: Activity) -> Self {
        Self {
            client: a.client,
            models: a.models,
            progress: Some(a.progress.into()),
            elapsed_ns: a.elapsed_ns,
        }
    }
}

impl TryFrom<wire::AgentState> for AgentState {
    type Error = ProtocolError;

    fn try_from(m: wire::AgentState) -> Result<Self, ProtocolError> {
        Ok(Self {
            activity: m.activity.map(Activity::try_from).transpose()?,
            queued: m.queued,
            uptime_ns: m.uptime_ns,
            models: m.models,
            model_bytes: m.model_bytes,
            model_limit_bytes: m.model_limit_bytes,
            connections: m.connections,
        })
    }
}

impl From<AgentState> for wire::AgentState {
    fn from(s: AgentState) -> Self {
        Self {
            activity: s.activity.map(Into::into),
            queued: s.queued,
            uptime_ns: s.uptime_ns,
            models: s.models,
            model_bytes: s.model_bytes,
            model_limit_bytes: s.model_limit_bytes,
            connections: s.connections,
        }
    }
}

impl TryFrom<wire::MonitorEvent> for MonitorEvent {
    type Error = ProtocolError;

    fn try_from(m: wire::MonitorEvent) -> Result<Self, ProtocolError> {
        const M: &str = "MonitorEvent";
        Ok(Self {
            device: need(M, "device", m.device)?.try_into()?,
            agent: need(M, "agent", m.agent)?.try_into()?,
        })
    }
}

impl From<MonitorEvent> for wire::MonitorEvent {
    fn from(e: MonitorEvent) -> Self {
        Self {
            device: Some(e.device.into()),
            agent: Some(e.agent.into()),
        }
    }
}

impl TryFrom<&wire::MonitorRequest> for std::time::Duration {
    type Error = ProtocolError;

    fn try_from(m: &wire::MonitorRequest) -> Result<Self, ProtocolError> {
        within(
            "MonitorRequest",
            "interval_ns",
            m.interval_ns,
            (bounds::MIN_MONITOR_NS, bounds::MAX_DURATION_NS),
            "200 ms to a day",
        )?;
        Ok(Self::from_nanos(m.interval_ns))
    }
}
