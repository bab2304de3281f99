//! A model that can be run: a session with its inputs.

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::time::Instant;

use agent_protocol::{Sampling, bounds, wire};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::SessionInputValue;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynValue, Shape, Tensor, TensorElementType, ValueType};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Trouble, external};

/// The most elements of one input: 4 GiB of floats.
const MAX_ELEMENTS: u64 = 1 << 30;

/// What every session of a pass shares.
pub struct Bench {
    /// ONNX Runtime.
    pub runtime: Environment,
    /// Threads, inputs and how to sample.
    pub sampling: Sampling,
}

/// A model ready to run.
pub struct Runner {
    session: Session,
    inputs: Vec<DynValue>,
    /// Time the runtime took to load and optimise it, ns.
    pub load_ns: u64,
}

impl Runner {
    /// Loads a model. With `profile`, the runtime keeps a profile in files that begin so.
    pub fn load(bench: &Bench, path: &Path, profile: Option<&str>) -> Result<Self, Trouble> {
        let (session, load_ns) = open(bench, path, profile)?;
        let sampling = &bench.sampling;
        let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
        let mut inputs = Vec::new();
        for outlet in session.inputs() {
            inputs.push(input(outlet.dtype(), sampling.batch, &mut random).map_err(
                |Trouble { kind, detail }| Trouble {
                    kind,
                    detail: format!("its input `{}` {detail}", outlet.name()),
                },
            )?);
        }
        Ok(Self {
            session,
            inputs,
            load_ns,
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

/// A session of a model, and the time the runtime took to load and optimise it, ns. With `profile`, the runtime keeps a
/// profile in files that begin so.
pub fn open(bench: &Bench, path: &Path, profile: Option<&str>) -> Result<(Session, u64), Trouble> {
    let bytes = std::fs::read(path)
        .map_err(|error| Trouble::internal(format!("reading {}: {error}", path.display())))?;
    match external::find(&bytes) {
        Ok(None) => {}
        Ok(Some(tensor)) => {
            return Err(Trouble::model(format!(
                "tensor `{tensor}` is kept in another file; export the model with its weights inside"
            )));
        }
        Err(error) => return Err(Trouble::model(format!("it is no ONNX file: {error}"))),
    }
    drop(bytes);
    let sampling = &bench.sampling;
    let begun = Instant::now();
    let session = (|| {
        let spin = if sampling.spinning { "1" } else { "0" };
        let mut builder = Session::builder(&bench.runtime)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_parallel_execution(false)?
            .with_inter_threads(1)?
            .with_intra_threads(sampling.threads as usize)?
            .with_config_entry("session.intra_op.allow_spinning", spin)?
            .with_config_entry("session.inter_op.allow_spinning", "0")?;
        if let Some(prefix) = profile {
            builder = builder.with_profiling(prefix)?;
        }
        builder.commit_from_file(path)
    })()
    .map_err(Trouble::model)?;
    let load_ns = nanoseconds(begun);
    Ok((session, load_ns))
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

/// A random input of the type a model asks for.
fn input(wanted: &ValueType, batch: u32, random: &mut ChaCha8Rng) -> Result<DynValue, Trouble> {
    let ValueType::Tensor { ty, shape, .. } = wanted else {
        return Err(Trouble::model(format!("is a {wanted}, not a tensor")));
    };
    let mut dims = Vec::new();
    for (axis, &dim) in shape.iter().enumerate() {
        dims.push(match (axis, dim) {
            (0, ..0) => i64::from(batch),
            (_, ..0) => {
                return Err(Trouble::model(format!(
                    "has an unknown size on axis {axis}; only the first may be unknown"
                )));
            }
            (_, dim) => dim,
        });
    }
    let count = dims
        .iter()
        .try_fold(1u64, |count, &dim| count.checked_mul(dim.unsigned_abs()))
        .filter(|&count| count <= MAX_ELEMENTS)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| Trouble::model(format!("has too many elements: {dims:?}")))?;
    let shape = Shape::new(dims);
    macro_rules! fill {
        ($type:ty, $value:expr) => {{
            let values: Vec<$type> = (0..count).map(|_| $value).collect();
            Tensor::from_array((shape, values)).map(|tensor| tensor.into_dyn())
        }};
    }
    // Small integers: they may be indices.
    let tensor = match ty {
        TensorElementType::Float32 => fill!(f32, random.random_range(-1.0..1.0)),
        TensorElementType::Float64 => fill!(f64, random.random_range(-1.0..1.0)),
        TensorElementType::Uint8 => fill!(u8, random.random()),
        TensorElementType::Int8 => fill!(i8, random.random()),
        TensorElementType::Int32 => fill!(i32, random.random_range(0..2)),
        TensorElementType::Int64 => fill!(i64, random.random_range(0..2)),
        TensorElementType::Bool => fill!(bool, random.random()),
        other => {
            return Err(Trouble::model(format!(
                "has elements of type {other}, which the agent cannot make up"
            )));
        }
    };
    tensor.map_err(Trouble::model)
}

/// ONNX Runtime's version, as the library tells it.
pub fn runtime_version(library: &Path) -> Result<String, String> {
    let wrong = |error: libloading::Error| {
        format!(
            "ONNX Runtime's library {} cannot be loaded: {error}",
            library.display()
        )
    };
    // SAFETY: loading runs the library's initialisers. It is the file the user named as ONNX Runtime, which is about to be
    // loaded and trusted with everything else as well.
    let loaded = unsafe { libloading::Library::new(library) }.map_err(wrong)?;
    // SAFETY: the symbol has had this type in every release of ONNX Runtime; it is the root of its stable C interface.
    let base = unsafe {
        loaded.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    }
    .map_err(wrong)?;
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
