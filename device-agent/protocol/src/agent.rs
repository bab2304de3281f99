//! What an agent does and holds.

use std::time::Duration;

use crate::check::{count, name, need, within};
use crate::{DeviceState, Progress, ProtocolError, bounds, wire};

/// The measurement or run that has the device's turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Activity {
    /// Address of the client.
    pub client: String,
    /// Names of the models, the reference's last.
    pub models: Vec<String>,
    /// Its progress.
    pub progress: Progress,
    /// Time since its turn began, ns.
    pub elapsed_ns: u64,
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

/// An agent's state at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentState {
    /// What is measured or run; `None`: the device is free.
    pub activity: Option<Activity>,
    /// Measurements and runs that wait for their turn.
    pub queued: u32,
    /// Time since the agent started, ns.
    pub uptime_ns: u64,
    /// Models held.
    pub models: u32,
    /// Bytes of the models held.
    pub model_bytes: u64,
    /// Maximum bytes of all models together.
    pub model_limit_bytes: u64,
    /// Open connections.
    pub connections: u32,
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

/// The state of a device and its agent at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct MonitorEvent {
    /// The device.
    pub device: DeviceState,
    /// The agent.
    pub agent: AgentState,
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

impl TryFrom<&wire::MonitorRequest> for Duration {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stage;
    use crate::check::{assert_refused, assert_survives};

    fn event() -> MonitorEvent {
        MonitorEvent {
            device: DeviceState::default(),
            agent: AgentState {
                activity: Some(Activity {
                    client: "192.0.2.1:4000".into(),
                    models: vec!["a".into(), "reference".into()],
                    progress: Progress {
                        rounds: 3,
                        ..Progress::at(Stage::Sampling)
                    },
                    elapsed_ns: 5,
                }),
                queued: 2,
                uptime_ns: 6,
                models: 7,
                model_bytes: 8,
                model_limit_bytes: 9,
                connections: 10,
            },
        }
    }

    #[test]
    fn a_monitors_event_survives_the_wire() {
        assert_survives::<wire::MonitorEvent, _>(&event());
    }

    #[test]
    fn a_monitors_event_is_checked() {
        let check = |spoil: fn(&mut wire::MonitorEvent), needle: &str| {
            assert_refused::<_, MonitorEvent>(&wire::MonitorEvent::from(event()), spoil, needle);
        };
        check(|m| m.device = None, "device");
        check(|m| m.agent = None, "agent");
        let check = |spoil: fn(&mut wire::Activity), needle: &str| {
            let activity = wire::Activity::from(event().agent.activity.unwrap());
            assert_refused::<_, Activity>(&activity, spoil, needle);
        };
        check(|a| a.progress = None, "progress");
        check(|a| a.client = "\u{1b}[2J".into(), "control");
        check(|a| a.models = vec!["m".into(); 66], "a list of 66");
    }

    #[test]
    fn an_interval_out_of_bounds_is_refused() {
        for interval_ns in [0, 199_999_999, u64::MAX] {
            let request = wire::MonitorRequest { interval_ns };
            assert!(Duration::try_from(&request).is_err(), "{interval_ns}");
        }
    }
}
