//! Random inputs.

use agent_protocol::{InputShape, Sampling};
use ort::session::Session;
use ort::value::{DynValue, Shape, Tensor, TensorElementType, ValueType};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::error::WorkerError;

/// Maximum elements of one input: 4 GiB of floats.
const MAX_ELEMENTS: u64 = 1 << 30;

/// The axis of the batch: the first, or one whose open size is called so.
fn batch_axis(symbols: &[String]) -> usize {
    let is_called_so = |symbol: &String| symbol.to_lowercase().contains("batch");
    symbols.iter().position(is_called_so).unwrap_or(0)
}

/// Returns one random value for each input of a model, the same for the same seed. Sizes that
/// the model leaves open come from `shapes`; otherwise the batch comes from the sampling.
pub fn inputs(
    session: &Session,
    sampling: &Sampling,
    shapes: &[InputShape],
) -> Result<Vec<DynValue>, WorkerError> {
    let exists = |name: &str| session.inputs().iter().any(|outlet| outlet.name() == name);
    if let Some(unknown) = shapes.iter().find(|shape| !exists(&shape.name)) {
        let names: Vec<String> = session
            .inputs()
            .iter()
            .map(|outlet| format!("`{}`", outlet.name()))
            .collect();
        return Err(WorkerError::model(format!(
            "it has no input `{}`, whose size is given; it has {}",
            unknown.name,
            names.join(", ")
        )));
    }
    let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
    let mut all = Vec::new();
    for outlet in session.inputs() {
        let shape = shapes.iter().find(|shape| shape.name == outlet.name());
        let dims = dims(outlet.name(), outlet.dtype(), sampling.batch, shape);
        let input = dims.and_then(|dims| input(outlet.dtype(), dims, &mut random));
        all.push(input.map_err(|WorkerError { kind, detail }| WorkerError {
            kind,
            detail: format!("its input `{}` {detail}", outlet.name()),
        })?);
    }
    Ok(all)
}

/// Returns the sizes of an input.
fn dims(
    name: &str,
    declared: &ValueType,
    batch: u32,
    given: Option<&InputShape>,
) -> Result<Vec<i64>, WorkerError> {
    let ValueType::Tensor {
        shape,
        dimension_symbols,
        ..
    } = declared
    else {
        return Err(WorkerError::model(format!("is a {declared}, not a tensor")));
    };
    let Some(given) = given else {
        let place = batch_axis(dimension_symbols);
        let open = |(axis, &dim): (usize, &i64)| (axis != place && dim < 0).then_some(axis);
        if let Some(axis) = shape.iter().enumerate().find_map(open) {
            let sizes = shape
                .iter()
                .enumerate()
                .map(|(axis, &dim)| match (axis, dim) {
                    (_, 0..) => dim.to_string(),
                    (axis, _) if axis == place => batch.to_string(),
                    _ => "?".to_owned(),
                });
            return Err(WorkerError::model(format!(
                "has an unknown size on axis {axis}; give its sizes with --input-size {name}={}",
                sizes.collect::<Vec<_>>().join("x")
            )));
        }
        let closed = |&dim: &i64| if dim < 0 { i64::from(batch) } else { dim };
        return Ok(shape.iter().map(closed).collect());
    };
    let dims: Vec<i64> = given
        .dims
        .iter()
        .map(|&dim| i64::try_from(dim).map_err(WorkerError::internal))
        .collect::<Result<_, _>>()?;
    // The runtime reports no sizes for an input whose rank the model leaves open.
    let fits = shape.is_empty()
        || (shape.len() == dims.len()
            && shape
                .iter()
                .zip(&dims)
                .all(|(&fixed, &dim)| fixed < 0 || fixed == dim));
    if fits {
        Ok(dims)
    } else {
        Err(WorkerError::model(format!(
            "is a {declared}, which the given size {given} does not fit"
        )))
    }
}

/// Returns a random input of the declared type.
fn input(
    declared: &ValueType,
    dims: Vec<i64>,
    random: &mut ChaCha8Rng,
) -> Result<DynValue, WorkerError> {
    let ValueType::Tensor { ty, .. } = declared else {
        return Err(WorkerError::model(format!("is a {declared}, not a tensor")));
    };
    let count = dims
        .iter()
        .try_fold(1u64, |count, &dim| count.checked_mul(dim.unsigned_abs()))
        .filter(|&count| count <= MAX_ELEMENTS)
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| WorkerError::model(format!("has too many elements: {dims:?}")))?;
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
            return Err(WorkerError::model(format!(
                "has elements of type {other}, which the agent cannot generate"
            )));
        }
    };
    tensor.map_err(WorkerError::model)
}
