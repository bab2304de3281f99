//! Loads models into ONNX Runtime and runs them.

use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;
use std::path::Path;
use std::time::Instant;

use agent_protocol::{InputShape, Optimisation, Provider, RuntimeOptions, Sampling, bounds, wire};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, Shape, Tensor, TensorElementType, ValueType};

use super::error::WorkerError;
use super::{input, providers, validate};

/// The runtime and the settings of one pass.
pub struct Bench {
    /// ONNX Runtime.
    pub runtime: Environment,
    /// Threads, inputs and sampling.
    pub sampling: Sampling,
    /// Execution providers and optimisation.
    pub options: RuntimeOptions,
    /// The execution providers that the runtime offers.
    pub offered: Vec<String>,
}

/// A loaded model.
pub struct Opened {
    /// Its session.
    pub session: Session,
    /// Time the runtime took to load and optimise it, ns.
    pub load_ns: u64,
    /// Requested providers that were not available, and why.
    pub notes: Vec<String>,
}

/// A loaded model with its inputs.
pub struct Runner {
    session: Session,
    inputs: Vec<DynValue>,
    /// Time the runtime took to load and optimise it, ns.
    pub load_ns: u64,
    /// Requested providers that were not available, and why.
    pub notes: Vec<String>,
}

impl Runner {
    /// Loads a model. With `profile`, the runtime writes a profile to files with this prefix.
    pub fn load(
        bench: &Bench,
        model: &wire::WorkerModel,
        profile: Option<&str>,
    ) -> Result<Self, WorkerError> {
        let shapes =
            InputShape::list("WorkerModel", model.inputs.clone()).map_err(WorkerError::internal)?;
        let opened = open(bench, Path::new(&model.path), profile)?;
        Ok(Self {
            inputs: input::inputs(&opened.session, &bench.sampling, &shapes)?,
            session: opened.session,
            load_ns: opened.load_ns,
            notes: opened.notes,
        })
    }

    /// Runs the model once. Returns the time of the call, with inputs and outputs in memory, ns.
    pub fn run(&mut self) -> Result<u64, WorkerError> {
        let inputs: Vec<SessionInputValue<'_>> =
            self.inputs.iter().map(SessionInputValue::from).collect();
        let begun = Instant::now();
        let outputs = self
            .session
            .run(inputs.as_slice())
            .map_err(WorkerError::model)?;
        let ns = nanoseconds(begun);
        drop(outputs);
        Ok(ns.max(1))
    }

    /// Runs the model once. Returns whether all floating-point outputs are finite.
    pub fn run_and_check(&mut self) -> Result<bool, WorkerError> {
        let inputs: Vec<SessionInputValue<'_>> =
            self.inputs.iter().map(SessionInputValue::from).collect();
        let outputs = self
            .session
            .run(inputs.as_slice())
            .map_err(WorkerError::model)?;
        Ok(outputs.values().all(|output| {
            let single = output
                .try_extract_tensor::<f32>()
                .map(|(_, all)| all.iter().all(|x| x.is_finite()));
            let double = output
                .try_extract_tensor::<f64>()
                .map(|(_, all)| all.iter().all(|x| x.is_finite()));
            // Neither: integers, which are always finite.
            single.or(double).unwrap_or(true)
        }))
    }

    /// Ends the profile and returns its file.
    pub fn end_profile(&mut self) -> Result<String, WorkerError> {
        self.session.end_profiling().map_err(WorkerError::internal)
    }
}

/// Loads a model with the requested providers, without those that refuse it. With `profile`, the
/// runtime writes a profile to files with this prefix.
pub fn open(bench: &Bench, path: &Path, profile: Option<&str>) -> Result<Opened, WorkerError> {
    let bytes = std::fs::read(path)
        .map_err(|error| WorkerError::internal(format!("reading {}: {error}", path.display())))?;
    validate::check(&bytes).map_err(WorkerError::model)?;
    drop(bytes);
    let strict = bench.options.strict;
    let mut notes = Vec::new();
    let mut requested = providers::up_to_cpu(&bench.options);
    loop {
        let mut builder = builder(bench, profile).map_err(WorkerError::internal)?;
        let available =
            providers::register(&mut builder, &requested, &bench.offered, strict, &mut notes)?;
        let first = available
            .iter()
            .position(|provider| !providers::is_cpu(provider));
        // A profile names the nodes that fell back; without one the runtime refuses the model.
        let lists_nodes = profile.is_some();
        if strict && first.is_some() && !lists_nodes && !providers::cpu_is_requested(&bench.options)
        {
            builder = builder
                .with_config_entry("session.disable_cpu_ep_fallback", "1")
                .map_err(WorkerError::internal)?;
        }
        let begun = Instant::now();
        let error = match builder.commit_from_file(path) {
            Ok(session) => {
                return Ok(Opened {
                    session,
                    load_ns: nanoseconds(begun),
                    notes,
                });
            }
            Err(error) => error,
        };
        let Some(first) = first else {
            return Err(WorkerError::model(error));
        };
        if strict {
            return Err(attribute(bench, path, &available, &error));
        }
        notes.push(format!(
            "the provider `{}` does not accept a model and was left out: {error}",
            available[first].name
        ));
        requested = available;
        requested.remove(first);
    }
}

/// Attributes a failure to load: to the providers if the CPU alone loads the model, otherwise to
/// the model.
fn attribute(
    bench: &Bench,
    path: &Path,
    available: &[&Provider],
    error: &ort::Error,
) -> WorkerError {
    let plain = builder(bench, None).and_then(|mut builder| builder.commit_from_file(path));
    if plain.is_err() {
        return WorkerError::model(error);
    }
    let names: Vec<&str> = available
        .iter()
        .map(|provider| provider.name.as_str())
        .collect();
    WorkerError::provider(format!(
        "the CPU provider, which was not requested, would have to run a part of it, or {} do not accept it: {error}",
        names.join(", ")
    ))
}

/// Returns a session's settings without its providers.
fn builder(bench: &Bench, profile: Option<&str>) -> ort::Result<SessionBuilder> {
    let sampling = &bench.sampling;
    let spin = if sampling.spinning { "1" } else { "0" };
    let level = match bench.options.optimisation {
        Optimisation::None => GraphOptimizationLevel::Disable,
        Optimisation::Basic => GraphOptimizationLevel::Level1,
        Optimisation::Extended => GraphOptimizationLevel::Level2,
        Optimisation::All => GraphOptimizationLevel::All,
    };
    let builder = Session::builder(&bench.runtime)?
        .with_optimization_level(level)?
        .with_parallel_execution(false)?
        .with_inter_threads(1)?
        .with_intra_threads(sampling.threads as usize)?
        .with_config_entry("session.intra_op.allow_spinning", spin)?
        .with_config_entry("session.inter_op.allow_spinning", "0")?;
    match profile {
        Some(prefix) => Ok(builder.with_profiling(prefix)?),
        None => Ok(builder),
    }
}

/// Runs a model with a single input and returns its first output, both of floats and row-major.
pub fn run_on(
    session: &mut Session,
    input: &[f32],
    shape: &[u64],
) -> Result<wire::RunOutput, WorkerError> {
    let [declared] = session.inputs() else {
        let count = session.inputs().len();
        return Err(WorkerError::model(format!(
            "it has {count} inputs; a run is for models with one"
        )));
    };
    let fits = match declared.dtype() {
        ValueType::Tensor {
            ty: TensorElementType::Float32,
            shape: dims,
            ..
        } => {
            dims.len() == shape.len()
                && dims
                    .iter()
                    .zip(shape)
                    .all(|(&dim, &given)| u64::try_from(dim).map_or(true, |dim| dim == given))
        }
        _ => false,
    };
    if !fits {
        return Err(WorkerError::model(format!(
            "its input `{}` is a {}; floats of shape {shape:?} were given",
            declared.name(),
            declared.dtype()
        )));
    }
    let dims: Vec<i64> = shape
        .iter()
        .map(|&dim| i64::try_from(dim).map_err(WorkerError::internal))
        .collect::<Result<_, _>>()?;
    let input =
        Tensor::from_array((Shape::new(dims), input.to_vec())).map_err(WorkerError::model)?;
    let outputs = session
        .run(ort::inputs![input])
        .map_err(WorkerError::model)?;
    let Some((name, first)) = outputs.iter().next() else {
        return Err(WorkerError::model("it has no output"));
    };
    let (dims, values) = first.try_extract_tensor::<f32>().map_err(|_| {
        WorkerError::model(format!(
            "its output `{name}` is a {}, not a tensor of floats",
            first.dtype()
        ))
    })?;
    if values.len() > bounds::MAX_RUN_ELEMENTS {
        return Err(WorkerError::model(format!(
            "its output `{name}` has {} elements; at most {} are returned",
            values.len(),
            bounds::MAX_RUN_ELEMENTS
        )));
    }
    Ok(wire::RunOutput {
        output: values.to_vec(),
        shape: dims.iter().map(|dim| dim.unsigned_abs()).collect(),
    })
}

/// Returns the time since then, ns.
pub fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Loads ONNX Runtime's library and its dependencies, and runs only their initialisers. It stays
/// loaded: a thread that an initialiser started may run its code.
pub fn load_library(library: &Path) -> Result<ManuallyDrop<libloading::Library>, String> {
    // SAFETY: loading runs the library's initialisers. The user named the file as ONNX Runtime,
    // which is trusted throughout.
    let loaded = unsafe { libloading::Library::new(library) };
    let loaded = loaded.map_err(|error| unloadable(library, &error))?;
    Ok(ManuallyDrop::new(loaded))
}

fn unloadable(library: &Path, error: &libloading::Error) -> String {
    format!(
        "ONNX Runtime's library {} cannot be loaded: {error}",
        library.display()
    )
}

/// Returns ONNX Runtime's version, as the library reports it.
pub fn runtime_version(library: &Path) -> Result<String, String> {
    let loaded = load_library(library)?;
    // SAFETY: the symbol has this type in every release of ONNX Runtime; it is the root of its
    // stable C interface.
    let base = unsafe {
        loaded.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(|error| unloadable(library, &error))?;
    // SAFETY: the function takes nothing and returns null, which is checked, or a pointer to a
    // static table. The table's `GetVersionString` returns a static, terminated string. `loaded`
    // outlives every use.
    let version: Option<&CStr> = unsafe {
        base().as_ref().map(|base| {
            let text: *const c_char = (base.GetVersionString)();
            CStr::from_ptr(text)
        })
    };
    let version = version.ok_or_else(|| format!("{} provides no interface", library.display()))?;
    Ok(version.to_string_lossy().into_owned())
}
