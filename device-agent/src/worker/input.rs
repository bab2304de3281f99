//! Inputs made up at random.

use agent_protocol::Sampling;
use ort::session::Session;
use ort::value::{DynValue, Shape, Tensor, TensorElementType, ValueType};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Trouble;

/// The most elements of one input: 4 GiB of floats.
const MAX_ELEMENTS: u64 = 1 << 30;

/// One random value for each input of a model, the same for the same seed.
pub fn inputs(session: &Session, sampling: &Sampling) -> Result<Vec<DynValue>, Trouble> {
    let mut random = ChaCha8Rng::seed_from_u64(sampling.seed);
    let mut all = Vec::new();
    for outlet in session.inputs() {
        let input = input(outlet.dtype(), sampling.batch, &mut random);
        all.push(input.map_err(|Trouble { kind, detail }| Trouble {
            kind,
            detail: format!("its input `{}` {detail}", outlet.name()),
        })?);
    }
    Ok(all)
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
