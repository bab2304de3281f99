//! Several devices of one profile serve one request at once.
//!
//! A device measures its share beside the reference itself, so that a candidate's ratio is of one device; which one is said
//! with every answer. A device that fails is set aside with its reason, its work goes to the others, and it is tried again
//! after a while. A request fails when no device is left.
//!
//! What any device of the fleet has measured before answers for the whole fleet: which device takes a model is chance anyway,
//! so a stored ratio of one of them is worth as much as a fresh one of another. A device that is not in the fleet never
//! answers, of the same profile or not. How far the devices differ is estimated from the models that several of them
//! measured ([`differences`]); no ratio is corrected by it.

mod board;
mod differences;
mod resolved;
mod work;

use std::thread;
use std::time::{Duration, Instant};

use agent_protocol::{DeviceInfo, Measurement, Sha256};
use serde::{Deserialize, Serialize};

pub use differences::{Difference, Estimate, differences};
pub use resolved::members;

use crate::{LatencyError, LatencySource, MeasureRequest, Model};

/// How a fleet shares its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FleetConfig {
    /// The most models that a device takes at once. They are interleaved in one process, and the sampling may take longer in
    /// proportion.
    pub chunk: usize,
    /// Every so many candidates one is measured on a second device as well, so that the devices can be compared; 0: none.
    pub check_every: u32,
    /// How long a device that failed is left alone, ns; twice as long after every further failure.
    pub back_off_ns: u64,
    /// The longest that it is left alone, ns.
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

/// A measurement with the device that took it.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The name of the device within the fleet.
    pub device: String,
    /// The device's identity ([`DeviceInfo::id`]).
    pub device_id: String,
    /// The measurement.
    pub measurement: Measurement,
    /// The reference on the same device, interleaved with this model or measured there before; `None` without one in the
    /// request.
    pub reference: Option<Measurement>,
}

/// What came of one model: its error leaves the others untouched.
pub type Outcome = Result<Answer, LatencyError>;

/// What came of a request on every device.
#[derive(Debug, Default)]
pub struct Each {
    /// By the device's name: one measurement a model, then the reference's.
    pub measured: Vec<(String, Vec<Measurement>)>,
    /// Devices that measured nothing.
    pub failed: Vec<(String, LatencyError)>,
}

type Opener<S> = Box<dyn FnMut() -> Result<S, LatencyError> + Send>;

/// A device of a fleet.
pub struct Member<S> {
    name: String,
    open: Opener<S>,
    source: Option<S>,
    away: Option<Away>,
}

/// Why a device is set aside.
#[derive(Clone, Debug)]
struct Away {
    reason: String,
    times: u32,
    until: Instant,
}

impl<S> Member<S> {
    /// A device that `open` connects to when it is first needed, and again after that failed.
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

    /// The connection, made where there is none yet.
    fn source(&mut self) -> Result<&mut S, LatencyError> {
        match &mut self.source {
            Some(source) => Ok(source),
            slot => Ok(slot.insert((self.open)()?)),
        }
    }

    fn set_aside(&mut self, error: &LatencyError, config: &FleetConfig) {
        let times = self.away.as_ref().map_or(0, |away| away.times) + 1;
        let wait = config
            .back_off_ns
            .saturating_mul(1 << (times - 1).min(32))
            .min(config.back_off_max_ns);
        tracing::warn!(device = self.name, %error, "the device is set aside");
        self.away = Some(Away {
            reason: error.to_string(),
            times,
            until: Instant::now() + Duration::from_nanos(wait),
        });
    }
}

/// How it stands with a device of a fleet.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberState {
    /// Its name within the fleet.
    pub name: String,
    /// The device, once it was reached.
    pub device: Option<DeviceInfo>,
    /// Why it is set aside, if it is.
    pub set_aside: Option<String>,
    /// How often it was set aside since it last measured.
    pub failures: u32,
}

/// Several devices of one profile.
pub struct Fleet<S> {
    members: Vec<Member<S>>,
    config: FleetConfig,
    /// Candidates given out so far, to find every so-manieth.
    given: u64,
    /// The reference that every device has been measured against itself with.
    proven: Option<Sha256>,
}

impl<S: LatencySource + Send> Fleet<S> {
    /// Connects to all devices at once. Those that cannot be reached are set aside.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] when none can be reached, or the error itself when there is one device only.
    pub fn start(mut members: Vec<Member<S>>, config: FleetConfig) -> Result<Self, LatencyError> {
        let mut outcomes: Vec<Result<(), LatencyError>> = thread::scope(|scope| {
            let opening: Vec<_> = members
                .iter_mut()
                .map(|member| scope.spawn(|| member.source().map(drop)))
                .collect();
            opening.into_iter().map(work::joined).collect()
        });
        if outcomes.iter().all(Result::is_err) {
            let names = members.iter().map(|member| member.name.as_str());
            return Err(no_device_left(
                names.zip(outcomes.drain(..).filter_map(Result::err)),
            ));
        }
        for (member, outcome) in members.iter_mut().zip(outcomes) {
            if let Err(error) = outcome {
                member.set_aside(&error, &config);
            }
        }
        Ok(Self {
            members,
            config,
            given: 0,
            proven: None,
        })
    }

    /// Measures: one outcome a model, in the request's order. Without models, the reference alone on one device.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] when every device failed, others when the host did. What was measured by then is in
    /// the devices' stores.
    pub fn measure_on(&mut self, request: &MeasureRequest) -> Result<Vec<Outcome>, LatencyError> {
        work::measure(self, request)
    }

    /// Measures all models of a request on every device that is not set aside, at once.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] when every device is lost, or what the host itself failed with.
    pub fn measure_on_each(&mut self, request: &MeasureRequest) -> Result<Each, LatencyError> {
        work::measure_on_each(self, request)
    }

    /// Does something with the first device that is not set aside, and with the next when it fails.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] when every device failed; what `task` says of a failure that is not the device's.
    pub fn with_device<T>(
        &mut self,
        task: impl FnMut(&mut S) -> Result<T, LatencyError>,
    ) -> Result<T, LatencyError> {
        work::with_device(self, task)
    }

    /// How many devices the fleet has, those set aside included.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// How it stands with every device.
    pub fn states(&self) -> Vec<MemberState> {
        self.members
            .iter()
            .map(|member| MemberState {
                name: member.name.clone(),
                device: member.source.as_ref().map(LatencySource::describe),
                set_aside: member.away.as_ref().map(|away| away.reason.clone()),
                failures: member.away.as_ref().map_or(0, |away| away.times),
            })
            .collect()
    }

    /// The first device that could be reached.
    fn first(&self) -> Option<&S> {
        let mut reached = self.members.iter().filter(|member| member.source.is_some());
        let well = reached.clone().find(|member| member.away.is_none());
        well.or_else(|| reached.next())?.source.as_ref()
    }
}

impl<S: LatencySource + Send> LatencySource for Fleet<S> {
    /// As [`Fleet::measure_on`], with the first error as that of the request. The reference is that of the device which
    /// measured the first model.
    fn measure(&mut self, request: &MeasureRequest) -> Result<Vec<Measurement>, LatencyError> {
        let mut answers = self
            .measure_on(request)?
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let reference = answers
            .first_mut()
            .and_then(|answer| answer.reference.take());
        Ok(answers
            .into_iter()
            .map(|answer| answer.measurement)
            .chain(reference)
            .collect())
    }

    fn recall(
        &mut self,
        request: &MeasureRequest,
    ) -> Result<Vec<Option<Measurement>>, LatencyError> {
        let mut known = vec![None; request.names().count()];
        for source in self.members.iter_mut().filter_map(|m| m.source.as_mut()) {
            for (slot, found) in known.iter_mut().zip(source.recall(request)?) {
                *slot = slot.take().or(found);
            }
        }
        Ok(known)
    }

    fn describe(&self) -> DeviceInfo {
        self.first()
            .map(LatencySource::describe)
            .unwrap_or_default()
    }
}

/// All devices failed: the error of the only one, or a list of all reasons.
fn no_device_left(
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

/// Whose fault an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The model's: another device would fail as well.
    Model,
    /// The device's: another may do better.
    Device,
    /// The host's own.
    Host,
}

fn fault(error: &LatencyError) -> Fault {
    use agent_protocol::FailureKind as Kind;
    match error {
        LatencyError::Model { .. } => Fault::Model,
        LatencyError::Failed(failure) => match failure.kind {
            Kind::ModelRefused
            | Kind::Crashed
            | Kind::TimedOut
            | Kind::OutOfMemory
            | Kind::Provider => Fault::Model,
            Kind::RuntimeMissing | Kind::Internal | Kind::Conditions => Fault::Device,
        },
        LatencyError::Store { .. } | LatencyError::Profile { .. } => Fault::Host,
        _ => Fault::Device,
    }
}

/// The models of a task list as a request of its own. Sampling several models beside one reference takes time in proportion;
/// how long was sampled is no part of a measurement's key.
fn part(request: &MeasureRequest, models: Vec<Model>) -> MeasureRequest {
    let mut part = MeasureRequest {
        models,
        ..request.clone()
    };
    let beside = usize::from(request.reference.is_some());
    let (now, one) = (part.models.len() + beside, 1 + beside);
    if now > one {
        let longer = |ns: u64| ns.saturating_mul(now as u64) / one as u64;
        let most = agent_protocol::bounds::MAX_DURATION_NS;
        part.sampling.max_duration_ns = longer(part.sampling.max_duration_ns).min(most);
        part.limits.time_ns = longer(part.limits.time_ns).min(most);
    }
    part
}
