//! The devices of a run: latency ratios to the original, with retries, through the measurement store.

use std::path::Path;

use latency::{
    AgentDevice, Difference, Evidence, Fleet, FleetConfig, Key, LatencyError, LatencySource,
    MeasureRequest, Measurement, MemberState, Model, Profile, Record, Remembering, Store, Verdict,
    differences, members, resolve_all,
};
use latency_model::{KernelTable, ProbePlan};
use serde::{Deserialize, Serialize};

use crate::error::PipelineError;
use crate::knowledge::{ProbeConfig, donor_kernels, probe_kernels};

/// Which device: `local`, the path of a profile, several of them with commas between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceSpec(pub String);

impl Default for DeviceSpec {
    fn default() -> Self {
        Self("local".into())
    }
}

/// How much a measurement may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effort {
    /// One of many in a search.
    Search,
    /// The figure of the final table: more rounds, a narrower interval, the full evidence.
    Final,
}

/// How a run measures.
#[derive(Debug, Clone, PartialEq)]
pub struct MeterConfig {
    /// How often a network is measured at most until that is valid. Its device repeats it, nothing above.
    pub attempts: u32,
    /// Sampling effort of the final measurements, as a multiple of the search's.
    pub final_effort: f64,
    /// How several devices share the work.
    pub fleet: FleetConfig,
}

/// A latency relative to the original's, with what it stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ratio {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub latency_ns: f64,
    pub interval_ns: (f64, f64),
    pub reference_ns: f64,
    pub reference_interval_ns: (f64, f64),
    pub model_sha256: String,
    /// The device that measured both.
    #[serde(default)]
    pub device: String,
    /// What is to be known of it, as that a provider was not had.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The final measurement of one network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FinalRatio {
    /// The figure that counts.
    pub ratio: Ratio,
    /// The same on the other devices.
    pub checks: Vec<Ratio>,
}

/// Measures networks against the original on one device or several of one profile. Valid measurements are stored and never
/// taken twice.
pub struct Meter {
    fleet: Fleet<Remembering<AgentDevice>>,
    store: Store,
    profile: Profile,
    config: MeterConfig,
    reference: Option<Model>,
    /// Failures that were told already, by device.
    told: Vec<u32>,
}

impl Meter {
    /// Starts the agents of all devices and opens the store at `store`.
    ///
    /// # Errors
    /// When a profile is wrong, no agent can be started, or the store cannot be opened.
    pub fn start(
        spec: &DeviceSpec,
        store: &Path,
        config: MeterConfig,
    ) -> Result<Self, PipelineError> {
        let path = store.to_owned();
        let retries = config.attempts.saturating_sub(1);
        let (profile, members) = members(resolve_all(&spec.0)?, move |device| {
            Remembering::new(device.with_retries(retries), Store::open(&path)?)
        })?;
        // Before any device: a store that cannot be used is no device's fault.
        let store = Store::open(store)?;
        let fleet = Fleet::start(members, config.fleet.clone())?;
        Ok(Self {
            told: vec![0; fleet.size()],
            fleet,
            store,
            profile,
            config,
            reference: None,
        })
    }

    /// The network that every other is interleaved with.
    pub fn set_reference(&mut self, name: &str, onnx: Vec<u8>) {
        self.reference = Some(Model::new(name, onnx));
    }

    /// The device in one line, the first where there are several.
    #[must_use]
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
    pub(crate) fn devices(&self) -> usize {
        self.fleet.size()
    }

    /// How it stands with every device.
    pub(crate) fn states(&self) -> Vec<MemberState> {
        self.fleet.states()
    }

    /// What became of devices since it was last asked, a line each.
    pub(crate) fn news(&mut self) -> Vec<String> {
        let mut news = Vec::new();
        for (state, told) in self.fleet.states().into_iter().zip(&mut self.told) {
            match &state.set_aside {
                Some(reason) if state.failures > *told => {
                    news.push(format!("device {} was set aside: {reason}", state.name));
                }
                None if *told > 0 => news.push(format!("device {} measures again", state.name)),
                _ => {}
            }
            *told = state.failures;
        }
        news
    }

    /// Pairs of devices that the system of both describes in the same words: perhaps one machine under two names.
    pub(crate) fn twins(&self) -> Vec<(String, String)> {
        let known: Vec<(String, String)> = self
            .states()
            .into_iter()
            .filter_map(|state| {
                let mut device = state.device?;
                device.name.clear();
                Some((state.name, device.id()))
            })
            .collect();
        let mut twins = Vec::new();
        for (i, (name, id)) in known.iter().enumerate() {
            let alike = known[i + 1..].iter().filter(|(_, other)| other == id);
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
                ..request.scaled(self.config.final_effort)
            },
        }
    }

    fn not_measured(&self, model: &str, reason: String) -> PipelineError {
        PipelineError::NoMeasurement {
            model: model.into(),
            device: self.profile.name.clone(),
            attempts: self.config.attempts,
            reason,
        }
    }

    /// Measures a network and the reference, interleaved.
    pub(crate) fn ratio(
        &mut self,
        name: &str,
        onnx: Vec<u8>,
        effort: Effort,
    ) -> Result<Ratio, PipelineError> {
        let mut all = self.ratios(vec![(name.to_owned(), onnx)], effort)?;
        all.pop()
            .unwrap_or_else(|| Err(self.not_measured(name, "no device answered".into())))
    }

    /// Measures networks, each beside the reference, on all devices at once. One that has no valid measurement is an error
    /// of its own; an error of the whole ends the run.
    pub(crate) fn ratios(
        &mut self,
        networks: Vec<(String, Vec<u8>)>,
        effort: Effort,
    ) -> Result<Vec<Result<Ratio, PipelineError>>, PipelineError> {
        let models: Vec<Model> = networks
            .into_iter()
            .map(|(name, onnx)| Model::new(name, onnx))
            .collect();
        let outcomes = self
            .fleet
            .measure_on(&self.request(models.clone(), effort))?;
        let results = models.iter().zip(outcomes).map(|(model, outcome)| {
            let reason = match outcome {
                Ok(answer) => {
                    let reference = answer.reference.as_ref();
                    match valid(&answer.device, &answer.measurement, reference) {
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

    /// Measures a network with full rigour on every device: the first device's figure counts, the others' are a check.
    pub(crate) fn final_ratio(
        &mut self,
        name: &str,
        onnx: Vec<u8>,
    ) -> Result<FinalRatio, PipelineError> {
        let request = self.request(vec![Model::new(name, onnx)], Effort::Final);
        let each = self.fleet.measure_on_each(&request)?;
        let mut reason = String::new();
        let mut ratios = Vec::new();
        for (device, measurements) in &each.measured {
            match valid_pair(device, measurements) {
                Ok(ratio) => ratios.push(ratio),
                Err(why) => reason = why,
            }
        }
        // The first of the devices that measured, whether or not what it measured is valid: the figures of one table shall
        // be of one device.
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
        Err(self.not_measured(name, reason))
    }

    /// The times of the kernels of `plan` on another device of the profile, and its name; as [`donor_kernels`].
    pub(crate) fn donor_kernels(
        &self,
        plan: &ProbePlan,
        config: &ProbeConfig,
    ) -> Result<Option<(String, KernelTable)>, PipelineError> {
        donor_kernels(&self.store, &self.info(), &self.profile, plan, config)
    }

    /// Measures each kernel of `plan` alone, as [`probe_kernels`], on one device.
    pub(crate) fn kernels(
        &mut self,
        plan: &ProbePlan,
        config: &ProbeConfig,
        mut progress: impl FnMut(usize) -> bool,
    ) -> Result<KernelTable, PipelineError> {
        let profile = &self.profile;
        let probed = self.fleet.with_device(|source| {
            match probe_kernels(source, profile, plan, config, &mut progress) {
                // Another device of the fleet may do what this one cannot.
                Err(PipelineError::Latency(error)) => Err(error),
                result => Ok(result),
            }
        });
        probed?
    }

    /// Runs a model once on a device: the first output for `images` (shape NCHW), row-major.
    pub(crate) fn run(
        &mut self,
        name: &str,
        onnx: &[u8],
        images: &[f32],
        shape: [usize; 4],
    ) -> Result<Vec<f32>, PipelineError> {
        let model = Model::new(name, onnx.to_vec());
        let runtime = &self.profile.runtime;
        Ok(self
            .fleet
            .with_device(|source| source.source_mut().run(&model, images, &shape, runtime))?)
    }

    /// The keys under which each device's measurements lie: those of the reference, which stand for all.
    fn keys(&self) -> Vec<(String, Key)> {
        let Some(reference) = &self.reference else {
            return Vec::new();
        };
        let of = |state: MemberState| {
            let key = Key::new(
                reference.sha256(),
                Some(reference.sha256()),
                &state.device?,
                &self.profile.sampling,
                &self.profile.runtime,
            );
            Some((state.name, key))
        };
        self.states().into_iter().filter_map(of).collect()
    }

    /// What latency hangs on besides the network: the runtime, its settings and, where there is only one, the device.
    pub(crate) fn circumstances(&self) -> String {
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

    /// What the store holds of this run's devices and original. A store for all runs of a user holds others, too.
    pub(crate) fn records(&self) -> Result<Vec<Record>, PipelineError> {
        let keys = self.keys();
        let reference = self.reference.as_ref().map(Model::sha256);
        let mut records = self.store.all()?;
        records.retain(|record| {
            let m = &record.measurement;
            let beside = m.reference_sha256 == reference;
            let itself = m.reference_sha256.is_none() && Some(m.model_sha256) == reference;
            (beside || itself) && keys.iter().any(|(_, key)| key.device == record.device)
        });
        Ok(records)
    }

    /// How far the devices differ, by name, from what `records` holds of them.
    pub(crate) fn differences(&self, records: &[Record]) -> Vec<(String, Difference)> {
        let (names, keys): (Vec<String>, Vec<Key>) = self.keys().into_iter().unzip();
        names.into_iter().zip(differences(&keys, records)).collect()
    }

    pub(crate) fn info(&self) -> latency::DeviceInfo {
        self.fleet.describe()
    }

    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// The ratio of a measurement beside its reference, or why there is none that may be used.
fn valid(device: &str, m: &Measurement, reference: Option<&Measurement>) -> Result<Ratio, String> {
    let Some(reference) = reference else {
        return Err("the agent returned no measurement of the reference".into());
    };
    for verdict in [&m.verdict, &reference.verdict] {
        if let Verdict::Invalid { reason } = verdict {
            return Err(reason.clone());
        }
    }
    let Some(ratio) = m.ratio else {
        return Err("the agent gave no ratio to the reference".into());
    };
    Ok(Ratio {
        median: ratio.median,
        low: ratio.low,
        high: ratio.high,
        latency_ns: m.median_ns,
        interval_ns: m.ci95_ns,
        reference_ns: reference.median_ns,
        reference_interval_ns: reference.ci95_ns,
        model_sha256: m.model_sha256.to_string(),
        device: device.to_owned(),
        notes: m.notes.clone(),
    })
}

/// As [`valid`], of a device's answer to a request for one model.
fn valid_pair(device: &str, measurements: &[Measurement]) -> Result<Ratio, String> {
    match measurements {
        [m, rest @ ..] => valid(device, m, rest.first()),
        [] => Err("the agent returned no measurement".into()),
    }
}
