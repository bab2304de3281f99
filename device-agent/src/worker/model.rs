//! A model that can be run: a session with its inputs.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::time::Instant;

use agent_protocol::{
    Optimisation, Provider, RuntimeOptions, Sampling, bounds, input_shapes, wire,
};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::SessionInputValue;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{DynValue, Shape, Tensor, TensorElementType, ValueType};

use super::{Trouble, external, input, providers};

/// What every session of a pass shares.
pub struct Bench {
    /// ONNX Runtime.
    pub runtime: Environment,
    /// Threads, inputs and how to sample.
    pub sampling: Sampling,
    /// Execution providers and optimisation.
    pub options: RuntimeOptions,
    /// The execution providers that the runtime offers.
    pub offered: Vec<String>,
}

/// A model that was loaded.
pub struct Opened {
    /// Its session.
    pub session: Session,
    /// Time the runtime took to load and optimise it, ns.
    pub load_ns: u64,
    /// Providers that were asked for and not had, and why.
    pub notes: Vec<String>,
}

/// A model ready to run.
pub struct Runner {
    session: Session,
    inputs: Vec<DynValue>,
    /// Time the runtime took to load and optimise it, ns.
    pub load_ns: u64,
    /// Providers that were asked for and not had, and why.
    pub notes: Vec<String>,
}

impl Runner {
    /// Loads a model. With `profile`, the runtime keeps a profile in files that begin so.
    pub fn load(
        bench: &Bench,
        model: &wire::WorkerModel,
        profile: Option<&str>,
    ) -> Result<Self, Trouble> {
        let shapes =
            input_shapes("WorkerModel", model.inputs.clone()).map_err(Trouble::internal)?;
        let opened = open(bench, Path::new(&model.path), profile)?;
        Ok(Self {
            inputs: input::inputs(&opened.session, &bench.sampling, &shapes)?,
            session: opened.session,
            load_ns: opened.load_ns,
            notes: opened.notes,
        })
    }

    /// One run. Returns its time, ns: what the caller of the runtime waits, with the inputs and outputs in memory.
    pub fn run(&mut self) -> Result<u64, Trouble> {
        let inputs: Vec<SessionInputValue<'_>> =
            self.inputs.iter().map(SessionInputValue::from).collect();
        let begun = Instant::now();
        let outputs = self
            .session
            .run(inputs.as_slice())
            .map_err(Trouble::model)?;
        let ns = nanoseconds(begun);
        drop(outputs);
        Ok(ns.max(1))
    }

    /// One run whose floating-point outputs are looked at: whether all are finite.
    pub fn run_and_look(&mut self) -> Result<bool, Trouble> {
        let inputs: Vec<SessionInputValue<'_>> =
            self.inputs.iter().map(SessionInputValue::from).collect();
        let outputs = self
            .session
            .run(inputs.as_slice())
            .map_err(Trouble::model)?;
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

    /// Ends the profile. Returns its file.
    pub fn end_profile(&mut self) -> Result<String, Trouble> {
        self.session.end_profiling().map_err(Trouble::internal)
    }
}

/// Loads a model with the first of the providers that take it. With `profile`, the runtime keeps a profile in files that
/// begin so.
pub fn open(bench: &Bench, path: &Path, profile: Option<&str>) -> Result<Opened, Trouble> {
    let bytes = std::fs::read(path)
        .map_err(|error| Trouble::internal(format!("reading {}: {error}", path.display())))?;
    match external::objection(&bytes) {
        Ok(None) => {}
        Ok(Some(objection)) => return Err(Trouble::model(objection)),
        Err(error) => return Err(Trouble::model(format!("it is no ONNX file: {error}"))),
    }
    drop(bytes);
    let strict = bench.options.strict;
    let mut notes = Vec::new();
    let mut asked = providers::up_to_cpu(&bench.options);
    loop {
        let mut builder = builder(bench, profile).map_err(Trouble::internal)?;
        let had = providers::register(&mut builder, &asked, &bench.offered, strict, &mut notes)?;
        let first = had.iter().position(|provider| !providers::is_cpu(provider));
        // A profile shows which nodes fell back, by name; without one the runtime refuses them all together.
        let seen = profile.is_some();
        if strict && first.is_some() && !seen && !providers::cpu_is_wanted(&bench.options) {
            builder = builder
                .with_config_entry("session.disable_cpu_ep_fallback", "1")
                .map_err(Trouble::internal)?;
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
            return Err(Trouble::model(error));
        };
        if strict {
            return Err(whose_fault(bench, path, &had, &error));
        }
        notes.push(format!(
            "the provider `{}` does not take a model and was left out: {error}",
            had[first].name
        ));
        asked = had;
        asked.remove(first);
    }
}

/// Whether a model that was not loaded would be by the CPU alone: then the providers are to blame, not the model.
fn whose_fault(bench: &Bench, path: &Path, had: &[&Provider], error: &ort::Error) -> Trouble {
    let plain = builder(bench, None).and_then(|mut builder| builder.commit_from_file(path));
    if plain.is_err() {
        return Trouble::model(error);
    }
    let names: Vec<&str> = had.iter().map(|provider| provider.name.as_str()).collect();
    Trouble::provider(format!(
        "the CPU provider, which was not asked for, would have to run a part of it, or {} do not take it: {error}",
        names.join(", ")
    ))
}

/// A session's settings but for its providers.
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

/// The first output of a model with a single input, both of floats and row-major.
pub fn run_on(
    session: &mut Session,
    input: &[f32],
    shape: &[u64],
) -> Result<wire::RunOutput, Trouble> {
    let [wanted] = session.inputs() else {
        let count = session.inputs().len();
        return Err(Trouble::model(format!(
            "it has {count} inputs; a run is for models with one"
        )));
    };
    let fits = match wanted.dtype() {
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
        return Err(Trouble::model(format!(
            "its input `{}` is a {}; floats of shape {shape:?} were given",
            wanted.name(),
            wanted.dtype()
        )));
    }
    let dims: Vec<i64> = shape
        .iter()
        .map(|&dim| i64::try_from(dim).map_err(Trouble::internal))
        .collect::<Result<_, _>>()?;
    let input = Tensor::from_array((Shape::new(dims), input.to_vec())).map_err(Trouble::model)?;
    let outputs = session.run(ort::inputs![input]).map_err(Trouble::model)?;
    let Some((name, first)) = outputs.iter().next() else {
        return Err(Trouble::model("it has no output"));
    };
    let (dims, values) = first.try_extract_tensor::<f32>().map_err(|_| {
        Trouble::model(format!(
            "its output `{name}` is a {}, not a tensor of floats",
            first.dtype()
        ))
    })?;
    if values.len() > bounds::MAX_RUN_ELEMENTS {
        return Err(Trouble::model(format!(
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

/// Time since, ns.
pub fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Loads ONNX Runtime's library and what it needs, and runs nothing of it but its initialisers.
pub fn load_library(library: &Path) -> Result<libloading::Library, String> {
    // SAFETY: loading runs the library's initialisers. It is the file the user named as ONNX Runtime, which is trusted with
    // everything else as well.
    unsafe { libloading::Library::new(library) }.map_err(|error| unloadable(library, &error))
}

fn unloadable(library: &Path, error: &libloading::Error) -> String {
    format!(
        "ONNX Runtime's library {} cannot be loaded: {error}",
        library.display()
    )
}

/// ONNX Runtime's version, as the library tells it.
pub fn runtime_version(library: &Path) -> Result<String, String> {
    let loaded = load_library(library)?;
    // SAFETY: the symbol has had this type in every release of ONNX Runtime; it is the root of its stable C interface.
    let base = unsafe {
        loaded.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(|error| unloadable(library, &error))?;
    // SAFETY: the function takes nothing and returns a pointer to a static table or null, which is checked; the table's
    // `GetVersionString` returns a static, terminated string. `loaded` outlives every use.
    let version: Option<&CStr> = unsafe {
        base().as_ref().map(|base| {
            let text: *const c_char = (base.GetVersionString)();
            CStr::from_ptr(text)
        })
    };
    let version = version.ok_or_else(|| format!("{} gives out no interface", library.display()))?;
    Ok(version.to_string_lossy().into_owned())
}
