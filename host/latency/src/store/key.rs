//! The key of a measurement, and its origin.

use agent_protocol::{
    DeviceInfo, InputShape, Optimisation, PROTOCOL_VERSION, RuntimeOptions, Sampling, Sha256,
};
use serde::Serialize;

use crate::{MeasureRequest, Model, Processes};

/// The key of a measurement: model, reference, device, runtime and setup. Measurements with equal
/// keys are interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The model.
    pub model: Sha256,
    /// The reference it was interleaved with.
    pub reference: Option<Sha256>,
    /// The device's identity ([`DeviceInfo::id`]).
    pub device: String,
    /// ONNX Runtime's version.
    pub runtime: String,
    /// Everything else that the figures depend on: threads, spinning, batch, cores, the options of
    /// the runtime, the accepted interval, the number of processes, the conditions and missing
    /// confinement, each where it is not the default. The target of the interval is not part of it.
    pub setup: String,
}

impl Key {
    /// Creates the key of a measurement on `device` with these settings.
    pub fn new(
        model: Sha256,
        reference: Option<Sha256>,
        device: &DeviceInfo,
        sampling: &Sampling,
        runtime: &RuntimeOptions,
    ) -> Self {
        let cores: Vec<String> = sampling.cores.iter().map(u32::to_string).collect();
        Self {
            model,
            reference,
            device: device.id(),
            runtime: device.runtime_version.clone(),
            setup: format!(
                "threads={} spinning={} batch={} cores={}{}{}{}",
                sampling.threads,
                sampling.spinning,
                sampling.batch,
                if cores.is_empty() {
                    "all".to_owned()
                } else {
                    cores.join(",")
                },
                match sampling.sustained_ns {
                    0 => String::new(),
                    ns => format!(" sustained={ns}"),
                },
                match sampling.window_ns {
                    0 => String::new(),
                    ns => format!(" window={ns}"),
                },
                options(runtime),
            ),
        }
    }

    /// Creates the key of a measurement by `request` on `device`.
    pub fn of_request(
        model: &Model,
        reference: Option<Sha256>,
        device: &DeviceInfo,
        request: &MeasureRequest,
    ) -> Self {
        let (sampling, runtime) = (&request.sampling, &request.runtime);
        let mut key = Self::new(model.sha256(), reference, device, sampling, runtime);
        let mut add = |name: &str, value: &dyn std::fmt::Display| {
            key.setup.push_str(&format!(" {name}={value}"));
        };
        let accepted = sampling.ci_accept_rel;
        if accepted != Sampling::default().ci_accept_rel {
            add("accepted", &accepted);
        }
        let Processes { fewest, most } = request.processes;
        if most > 1 {
            // Earlier versions took the median of each process, and had no such addition.
            add("processes", &format!("{fewest}-{most} ratio=p5"));
        }
        let conditions = &request.conditions;
        if let Some(most) = conditions.max_millicelsius {
            add("max_millicelsius", &most);
        }
        if let Some(governor) = &conditions.governor {
            add("governor", governor);
        }
        // Only layers that the kernel offers: whether a model runs without them is a setting.
        for missing in device.unconfined.iter().filter(|missing| missing.offered) {
            add("without", &missing.layer);
        }
        key.with_inputs(model.inputs())
    }

    /// Creates the keys of the request's models, then that of its reference if there is one.
    pub fn all_of(request: &MeasureRequest, device: &DeviceInfo) -> Vec<Self> {
        let reference = request.reference.as_ref();
        let of = reference.map(Model::sha256);
        let key = |model: &Model, of| Self::of_request(model, of, device, request);
        let models = request.models.iter().map(|model| key(model, of));
        models
            .chain(reference.map(|model| key(model, None)))
            .collect()
    }

    /// Adds the sizes of inputs that the model leaves open.
    #[must_use]
    pub fn with_inputs(mut self, inputs: &[InputShape]) -> Self {
        for shape in inputs {
            self.setup.push_str(&format!(" input={shape}"));
        }
        self
    }

    pub(super) fn reference_bytes(&self) -> &[u8] {
        self.reference
            .as_ref()
            .map_or(&[], |digest| digest.0.as_slice())
    }
}

/// The options of the runtime that differ from its defaults.
fn options(runtime: &RuntimeOptions) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for provider in &runtime.providers {
        // Writing to a string does not fail.
        let _ = write!(text, " provider={}", provider.name);
        for (key, value) in &provider.options {
            let _ = write!(text, ",{key}={value}");
        }
    }
    if runtime.optimisation != Optimisation::All {
        let _ = write!(text, " optimisation={:?}", runtime.optimisation);
    }
    text
}

/// The requested execution providers in order of preference; `cpu` if there are none.
pub(super) fn providers(runtime: &RuntimeOptions) -> String {
    if runtime.providers.is_empty() {
        return "cpu".to_owned();
    }
    let names: Vec<&str> = runtime.providers.iter().map(|p| p.name.as_str()).collect();
    names.join(",")
}

/// The origin of a measurement beyond its [`Key`]. Fields are empty in entries of the first
/// version of the store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The device's profile.
    pub profile: String,
    /// The user's name for the device.
    pub device_name: String,
    /// The device's host name.
    pub hostname: String,
    /// The device's processor: architecture, number of cores and name. Empty before the fourth
    /// version of the store.
    pub processor: String,
    /// The agent's version.
    pub agent_version: String,
    /// The protocol's version.
    pub protocol: Option<u32>,
    /// The name of the requesting machine.
    pub host: String,
    /// The version of the requesting graphprune.
    pub graphprune_version: String,
}

impl Origin {
    /// Returns the origin of measurements on `device` requested by this program.
    pub fn here(device: &DeviceInfo) -> Self {
        Self {
            profile: device.profile.clone(),
            device_name: device.name.clone(),
            hostname: device.hostname.clone(),
            processor: format!(
                "{}, {} cores, {}",
                device.arch, device.cores, device.cpu_model
            ),
            agent_version: device.agent_version.clone(),
            protocol: Some(PROTOCOL_VERSION),
            host: this_host(),
            graphprune_version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// This machine's name.
pub(super) fn this_host() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}
