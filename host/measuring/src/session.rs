//! The devices of a session: latency ratios to one reference, through the measurement store.

use std::path::Path;

use latency::{
    DeviceInfo, Difference, Evidence, Fleet, FleetConfig, Key, LatencyError, LatencySource,
    MeasureRequest, Measurement, MemberState, Model, NodeProvider, Patience, Profile, Record,
    Remembering, Resolved, Store, differences, members,
};
use latency_model::ProbePlan;

use crate::device::Device;

use crate::error::MeasuringError;
use crate::kernels::{self, DonorKernels, ProbeConfig, ProbedKernels, probe_kernels};
use crate::observe::{Comparison, Observed, Pass, operators_of};
use crate::ratio::{FinalRatio, MeasuredRatio};

/// How much a measurement may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// One of many in a search: one process, for screening.
    Search,
    /// A figure of the final table: over several processes, with the full evidence.
    Final,
}

/// How a session measures.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionConfig {
    /// How often a device tries to measure a network until the measurement is valid.
    pub attempts: u32,
    /// Sampling effort of the final measurements, as a multiple of the search's.
    pub final_effort: f64,
    /// How several devices share the work.
    pub fleet: FleetConfig,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            attempts: Patience::default().retries + 1,
            final_effort: 4.0,
            fleet: FleetConfig::default(),
        }
    }
}

/// Measures networks against a reference on one device or several of one profile. Valid
/// measurements are stored and never taken twice.
pub struct Session {
    fleet: Fleet<Device>,
    store: Option<Store>,
    profile: Profile,
    config: SessionConfig,
    reference: Option<Model>,
}

impl Session {
    /// Starts the agents of all devices and opens the store at `store`. Without one, everything
    /// is measured anew.
    ///
    /// # Errors
    /// When the profiles differ, no agent can be started, or the store cannot be opened.
    pub fn start(
        devices: Vec<Resolved>,
        store: Option<&Path>,
        config: SessionConfig,
    ) -> Result<Self, MeasuringError> {
        let path = store.map(Path::to_owned);
        let retries = config.attempts.saturating_sub(1);
        let (profile, members) = members(devices, move |device| {
            let device = device.with_retries(retries);
            Ok(match &path {
                Some(path) => {
                    let stored = Remembering::new(device, Store::open(path)?)?;
                    Device::Stored(Box::new(stored))
                }
                None => Device::Plain(Box::new(device)),
            })
        })?;
        // Before any device: a store that cannot be used is no device's fault.
        let store = store.map(Store::open).transpose()?;
        Ok(Self {
            fleet: Fleet::start(members, config.fleet.clone())?,
            store,
            profile,
            config,
            reference: None,
        })
    }

    /// The network that every other is interleaved with.
    pub fn set_reference(&mut self, reference: Model) {
        self.reference = Some(reference);
    }

    /// The device in one line, the first where there are several.
    pub fn describe(&self) -> String {
        let info = self.fleet.describe();
        let names: Vec<String> = self.states().into_iter().map(|state| state.name).collect();
        let fleet = match names.len() {
            1 => String::new(),
            count => format!("{count} devices ({}) of the profile ", names.join(", ")),
        };
        format!("{fleet}{}", self.profile.describe(&info))
    }

    /// How many devices there are, those set aside included.
    pub fn devices(&self) -> usize {
        self.fleet.size()
    }

    /// The state of every device.
    pub fn states(&self) -> Vec<MemberState> {
        self.fleet.states()
    }

    /// The device, the first that could be reached where there are several.
    pub fn info(&self) -> DeviceInfo {
        self.fleet.describe()
    }

    /// The profile of all devices.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Pairs of devices that report the same system: perhaps one machine under two names.
    pub fn twins(&self) -> Vec<(String, String)> {
        let reached: Vec<(String, String)> = self
            .states()
            .into_iter()
            .filter_map(|state| {
                let mut device = state.device?;
                device.name.clear();
                Some((state.name, device.id()))
            })
            .collect();
        let mut twins = Vec::new();
        for (i, (name, id)) in reached.iter().enumerate() {
            let alike = reached[i + 1..].iter().filter(|(_, other)| other == id);
            twins.extend(alike.map(|(other, _)| (name.clone(), other.clone())));
        }
        twins
    }

    fn request(&self, models: Vec<Model>, effort: Effort) -> MeasureRequest {
        let request = self.profile.request(models, self.reference.clone());
        match effort {
            Effort::Search => request,
            Effort::Final => MeasureRequest {
                evidence: Evidence::Full,
                ..request.thorough(self.config.final_effort)
            },
        }
    }

    fn not_measured(&self, model: &str, reason: String) -> MeasuringError {
        MeasuringError::NoMeasurement {
            model: model.into(),
            device: self.profile.name.clone(),
            reason,
        }
    }

    /// Measures a network and the reference, interleaved.
    ///
    /// # Errors
    /// [`MeasuringError::NoMeasurement`] when the network has no valid measurement; others when
    /// every device failed.
    pub fn ratio(&mut self, model: Model, effort: Effort) -> Result<MeasuredRatio, MeasuringError> {
        let name = model.name().to_owned();
        let mut all = self.ratios(vec![model], effort)?;
        all.pop()
            .unwrap_or_else(|| Err(self.not_measured(&name, "no device answered".into())))
    }

    /// Measures networks, each beside the reference, on all devices at once. A network without a
    /// valid measurement is an error of its own ([`MeasuringError::NoMeasurement`]).
    ///
    /// # Errors
    /// When every device failed.
    pub fn ratios(
        &mut self,
        models: Vec<Model>,
        effort: Effort,
    ) -> Result<Vec<Result<MeasuredRatio, MeasuringError>>, MeasuringError> {
        if models.is_empty() {
            return Ok(Vec::new());
        }
        let answers = self
            .fleet
            .measure_on(&self.request(models.clone(), effort))?;
        let results = models.iter().zip(answers).map(|(model, answer)| {
            let reason = match answer {
                Ok(answer) => {
                    let reference = answer.reference.as_ref();
                    match MeasuredRatio::new(&answer.device, &answer.measurement, reference) {
                        Ok(ratio) => return Ok(Ok(ratio)),
                        Err(reason) => reason,
                    }
                }
                Err(LatencyError::Failed(failure)) => failure.to_string(),
                Err(error) => return Err(error.into()),
            };
            Ok(Err(self.not_measured(model.name(), reason)))
        });
        results.collect()
    }

    /// Measures a network with full rigour on every device: the first device's figure counts, the
    /// others' are a check.
    ///
    /// # Errors
    /// As [`Session::ratio`].
    pub fn final_ratio(&mut self, model: Model) -> Result<FinalRatio, MeasuringError> {
        let name = model.name().to_owned();
        let request = self.request(vec![model], Effort::Final);
        let each = self.fleet.measure_on_each(&request)?;
        let mut reason = String::new();
        let mut ratios = Vec::new();
        for (device, measurements) in &each.measured {
            match of_one(device, measurements) {
                Ok(ratio) => ratios.push(ratio),
                Err(why) => reason = why,
            }
        }
        // The first device that measured, whether or not its measurement is valid: the figures of
        // one table are of one device.
        let first = each.measured.first().map(|(device, _)| device.as_str());
        if ratios.first().map(|ratio| ratio.device.as_str()) == first && !ratios.is_empty() {
            let ratio = ratios.remove(0);
            return Ok(FinalRatio {
                ratio,
                checks: ratios,
            });
        }
        if let (None, Some((_, error))) = (first, each.failed.first()) {
            reason = error.to_string();
        }
        Err(self.not_measured(&name, reason))
    }

    /// Runs `task` on one device, and on the next where the device fails.
    fn on_device<T>(
        &mut self,
        mut task: impl FnMut(&mut Device, &Profile) -> Result<T, MeasuringError>,
    ) -> Result<T, MeasuringError> {
        let profile = &self.profile;
        let done = self
            .fleet
            .with_device(|device| match task(device, profile) {
                // Another device of the fleet may do what this one cannot.
                Err(MeasuringError::Latency(error)) => Err(error),
                result => Ok(result),
            });
        done?
    }

    /// The kernels of `plan` on another device of the profile and processor, where the store
    /// holds nearly all of them and none of this device's.
    ///
    /// # Errors
    /// When the store cannot be read or a kernel not be written.
    pub fn donor_kernels(
        &self,
        plan: &ProbePlan,
        config: &ProbeConfig,
    ) -> Result<Option<DonorKernels>, MeasuringError> {
        match &self.store {
            Some(store) => kernels::donor_kernels(store, &self.info(), &self.profile, plan, config),
            None => Ok(None),
        }
    }

    /// Measures each kernel of `plan` alone on one device; see [`probe_kernels`].
    ///
    /// # Errors
    /// As [`probe_kernels`].
    pub fn kernels(
        &mut self,
        plan: &ProbePlan,
        config: &ProbeConfig,
        mut progress: impl FnMut(usize) -> bool,
    ) -> Result<ProbedKernels, MeasuringError> {
        self.on_device(|device, profile| {
            probe_kernels(device, profile, plan, config, &mut progress)
        })
    }

    /// Measures an original and its pruned form in one process, then profiles them in turn until
    /// the profiles are `enough`. `go_on` receives how many there are, and ends the work by
    /// returning `false`. No store answers.
    ///
    /// # Errors
    /// [`MeasuringError::NoMeasurement`], [`MeasuringError::NoOperatorTimes`],
    /// [`MeasuringError::Stopped`]; others when the device fails.
    pub fn observe(
        &mut self,
        original: &Model,
        pruned: &Model,
        enough: impl Fn(&[Pass]) -> bool,
        mut go_on: impl FnMut(usize) -> bool,
    ) -> Result<Observed, MeasuringError> {
        self.on_device(|device, profile| {
            let mut comparison = Comparison {
                device: device.agent(),
                profile,
                original,
                pruned,
            };
            comparison.observe(&enough, &mut go_on)
        })
    }

    /// The operators of one network in one profile, with their times. No store answers.
    ///
    /// # Errors
    /// When the device fails.
    pub fn operators(&mut self, model: &Model) -> Result<Vec<NodeProvider>, MeasuringError> {
        self.on_device(|device, profile| operators_of(device.agent(), profile, model))
    }

    /// Runs a model once on a device: the first output for `images` (shape NCHW), row-major.
    ///
    /// # Errors
    /// When the device fails.
    pub fn run(
        &mut self,
        model: &Model,
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>, MeasuringError> {
        self.on_device(|device, profile| {
            Ok(device
                .agent()
                .run(model, images, &shape, &profile.runtime)?)
        })
    }

    /// Runs a model once on a device: all outputs of floats, one after the other, for the inputs of
    /// `shapes`, which `input` holds likewise.
    ///
    /// # Errors
    /// When the device fails.
    pub fn run_named(
        &mut self,
        model: &Model,
        input: &[f32],
        shapes: &[latency::InputShape],
    ) -> Result<Vec<f32>, MeasuringError> {
        self.on_device(|device, profile| {
            let runtime = &profile.runtime;
            Ok(device.agent().run_named(model, input, shapes, runtime)?)
        })
    }

    /// The keys under which each device's measurements of the reference lie.
    fn keys(&self) -> Vec<(String, Key)> {
        let Some(reference) = &self.reference else {
            return Vec::new();
        };
        let request = self.request(Vec::new(), Effort::Search);
        let of = |state: MemberState| {
            let digest = Some(reference.sha256());
            let key = Key::of_request(reference, digest, &state.device?, &request);
            Some((state.name, key))
        };
        self.states().into_iter().filter_map(of).collect()
    }

    /// What latency depends on besides the network: the runtime, its settings and, where there is
    /// only one, the device.
    pub fn circumstances(&self) -> String {
        let keys = self.keys();
        let Some((_, key)) = keys.first() else {
            return String::new();
        };
        let device = if self.devices() == 1 {
            &key.device[..]
        } else {
            ""
        };
        [device, &key.runtime, &key.setup].join(" ").trim().into()
    }

    /// The measurements beside the reference on the devices in use. A store for all runs of a user
    /// holds others, too.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn records(&self) -> Result<Vec<Record>, MeasuringError> {
        let Some(store) = &self.store else {
            return Ok(Vec::new());
        };
        let keys = self.keys();
        let reference = self.reference.as_ref().map(Model::sha256);
        let mut records = store.all()?;
        records.retain(|record| {
            let m = &record.measurement;
            let beside = m.reference_sha256 == reference;
            let itself = m.reference_sha256.is_none() && Some(m.model_sha256) == reference;
            (beside || itself) && keys.iter().any(|(_, key)| key.device == record.device)
        });
        Ok(records)
    }

    /// How far the devices differ by `records`, with their names.
    pub fn differences(&self, records: &[Record]) -> Vec<(String, Difference)> {
        let (names, keys): (Vec<String>, Vec<Key>) = self.keys().into_iter().unzip();
        names.into_iter().zip(differences(&keys, records)).collect()
    }
}

/// The ratio in a device's answer to a request for one model.
fn of_one(device: &str, measurements: &[Measurement]) -> Result<MeasuredRatio, String> {
    match measurements {
        [m, rest @ ..] => MeasuredRatio::new(device, m, rest.first()),
        [] => Err("the agent returned no measurement".into()),
    }
}
