//! Runs of models with any number of inputs and outputs.

use agent_protocol::{InputShape, bounds, wire};
use ort::session::{Session, SessionInputValue};
use ort::value::{Shape, Tensor, TensorElementType, ValueType};

use super::error::WorkerError;

/// Runs a model on `values`, which hold the inputs of `shapes` one after the other, and returns all
/// outputs of floats, one after the other in the model's order.
pub fn run(
    session: &mut Session,
    values: &[f32],
    shapes: &[InputShape],
) -> Result<wire::RunOutput, WorkerError> {
    let mut inputs: Vec<(String, SessionInputValue<'_>)> = Vec::new();
    let mut rest = values;
    for shape in shapes {
        let declared = session.inputs().iter().find(|of| of.name() == shape.name);
        let declared = declared.ok_or_else(|| {
            WorkerError::model(format!("it has no input `{}`, which is given", shape.name))
        })?;
        let size = shape.dims.iter().product::<u64>();
        let size = usize::try_from(size).map_err(WorkerError::internal)?;
        let (own, others) = rest
            .split_at_checked(size)
            .ok_or_else(|| WorkerError::internal("the inputs end early"))?;
        rest = others;
        inputs.push((shape.name.clone(), tensor(declared.dtype(), shape, own)?));
    }
    let outputs = session.run(inputs).map_err(WorkerError::model)?;
    let mut all = Vec::new();
    for (name, value) in outputs.iter() {
        let ValueType::Tensor {
            ty: TensorElementType::Float32,
            ..
        } = value.dtype()
        else {
            continue;
        };
        let (_, values) = value
            .try_extract_tensor::<f32>()
            .map_err(WorkerError::model)?;
        all.extend_from_slice(values);
        if all.len() > bounds::MAX_RUN_ELEMENTS {
            return Err(WorkerError::model(format!(
                "with its output `{name}` it returns more than {} elements",
                bounds::MAX_RUN_ELEMENTS
            )));
        }
    }
    Ok(wire::RunOutput {
        shape: vec![all.len() as u64],
        output: all,
    })
}

/// An input of the declared type.
fn tensor(
    declared: &ValueType,
    shape: &InputShape,
    values: &[f32],
) -> Result<SessionInputValue<'static>, WorkerError> {
    let dims: Vec<i64> = shape
        .dims
        .iter()
        .map(|&dim| i64::try_from(dim).map_err(WorkerError::internal))
        .collect::<Result<_, _>>()?;
    let dims = Shape::new(dims);
    macro_rules! made {
        ($convert:expr) => {{
            let values: Vec<_> = values.iter().map($convert).collect();
            Tensor::from_array((dims, values))
                .map_err(WorkerError::model)?
                .into()
        }};
    }
    let ValueType::Tensor { ty, .. } = declared else {
        let reason = format!("its input `{}` is a {declared}, not a tensor", shape.name);
        return Err(WorkerError::model(reason));
    };
    Ok(match ty {
        TensorElementType::Float32 => made!(|&value| value),
        TensorElementType::Int64 => made!(|&value| value as i64),
        TensorElementType::Int32 => made!(|&value| value as i32),
        TensorElementType::Bool => made!(|&value| value != 0.0),
        _ => {
            let reason = format!(
                "its input `{}` is a {declared}, which a run does not fill",
                shape.name
            );
            return Err(WorkerError::model(reason));
        }
    })
}
