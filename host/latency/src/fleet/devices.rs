//! A fleet and the state of its devices.

use std::thread;

use agent_protocol::Sha256;

use super::fault::no_device_left;
use super::member::{FleetConfig, Member, MemberState};
use super::threads::joined;
use crate::{LatencyError, LatencySource};

/// Several devices of one profile that share the models of a request.
///
/// # Example
///
/// Two devices, here formulas instead of agents, measure four models:
///
/// ```
/// use latency::{
///     DeviceInfo, Fleet, FleetConfig, LatencyError, LatencySource, MeasureRequest, Measurement,
///     Member, Model, Profile,
/// };
/// # use latency::{DeviceState, RuntimeInfo, RuntimeOptions, Verdict};
///
/// /// A device that takes 1 ns per byte of a model.
/// struct Board(&'static str);
///
/// impl LatencySource for Board {
///     fn measure(
///         &mut self,
///         request: &MeasureRequest,
///     ) -> Result<Vec<Measurement>, LatencyError> {
///         Ok(request.models.iter().map(measurement).collect())
///     }
///
///     fn describe(&self) -> DeviceInfo {
///         DeviceInfo { name: self.0.into(), ..DeviceInfo::default() }
///     }
/// }
///
/// # fn measurement(model: &Model) -> Measurement {
/// #     let ns = model.onnx().len() as f64;
/// #     Measurement {
/// #         name: model.name().into(), model_sha256: model.sha256(), reference_sha256: None,
/// #         median_ns: ns, ci95_ns: (ns, ns), min_ns: ns as u64, p5_ns: ns, p25_ns: ns,
/// #         p50_ns: ns, p75_ns: ns, p95_ns: ns, p99_ns: ns, samples_ns: vec![ns as u64],
/// #         block_runs: 1, warmup_ns: vec![], preempted_ns: vec![], ratio: None,
/// #         peak_memory_bytes: None, before: DeviceState::default(),
/// #         after: DeviceState::default(), runtime: RuntimeInfo {
/// #             version: "1".into(), provider: "CPUExecutionProvider".into(), threads: 1,
/// #             spinning: false, cores: vec![], nice: 0, node_providers: vec![],
/// #             options: RuntimeOptions::default(), confinement: vec![], board: None,
/// #         },
/// #         verdict: Verdict::Valid, notes: vec![], taken_unix_ns: 0, load_ns: 0,
/// #         sentinel: None, contention: None, processes: vec![], reference_excess_rel: None,
/// #         others_cores: None,
/// #     }
/// # }
/// # fn main() -> Result<(), LatencyError> {
/// let members = ["left", "right"].map(|name| Member::new(name, move || Ok(Board(name))));
/// let mut fleet = Fleet::start(members.into(), FleetConfig::default())?;
/// let models = (1..=4).map(|n| Model::new(format!("m{n}"), vec![0; n])).collect();
/// let request = Profile::local()?.request(models, None);
/// for (n, result) in fleet.measure_on(&request)?.into_iter().enumerate() {
///     let answer = result?;
///     assert_eq!(answer.measurement.median_ns, (n + 1) as f64);
///     assert!(["left", "right"].contains(&answer.device.as_str()));
/// }
/// # Ok(())
/// # }
/// ```
///
/// [`members`](crate::members) creates the members of real devices from their names.
pub struct Fleet<S> {
    pub(super) members: Vec<Member<S>>,
    pub(super) config: FleetConfig,
    /// Number of candidates measured so far, for [`FleetConfig::check_every`].
    pub(super) given: u64,
    /// The reference that every device has been measured against itself with.
    pub(super) proven: Option<Sha256>,
}

impl<S: LatencySource + Send> Fleet<S> {
    /// Connects to all devices at once. Unreachable ones are set aside.
    ///
    /// # Errors
    /// [`LatencyError::NoDeviceLeft`] if no device can be reached, or the error itself for a
    /// single device.
    pub fn start(mut members: Vec<Member<S>>, config: FleetConfig) -> Result<Self, LatencyError> {
        let mut outcomes: Vec<Result<(), LatencyError>> = thread::scope(|scope| {
            let opening: Vec<_> = members
                .iter_mut()
                .map(|member| scope.spawn(|| member.source().map(drop)))
                .collect();
            opening.into_iter().map(joined).collect()
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

    /// Returns the number of devices, including those set aside.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// Returns the states of the devices.
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

    /// The first reachable device.
    pub(super) fn first(&self) -> Option<&S> {
        let mut reached = self.members.iter().filter(|member| member.source.is_some());
        let well = reached.clone().find(|member| member.away.is_none());
        well.or_else(|| reached.next())?.source.as_ref()
    }
}
