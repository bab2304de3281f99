//! [Pad](https://onnx.ai/onnx/operators/onnx__Pad.html) with one value.

use int8_engine::Place;
use onnx_graph::DType;
use onnx_graph::ops::{Pad, PadMode};

use super::concat::axis;
use super::context::Context;
use crate::state::State;

pub(super) fn lower(mut context: Context<'_>, op: &Pad) -> Result<State, String> {
    let input = context.image(0)?;
    let dims = context.dims(context.node.input(0))?;
    if op.mode != PadMode::Constant || op.pads.len() != 2 * dims.len() {
        return Err("boards pad with one value".into());
    }
    let read = context
        .node
        .input(0)
        .and_then(|id| context.graph.value(id).dtype);
    let value = match read {
        Some(DType::U8) => op.value - 128.0,
        Some(DType::I8) => op.value,
        _ => f32::from(input.quantity().round(op.value)),
    };
    let output = context.tensor_like(&input)?;
    let mut place = Place {
        fill: true,
        value: value as i8,
        ..Place::all(input.tensor, output.tensor)
    };
    for (i, &size) in dims.iter().enumerate() {
        let (before, after) = (op.pads[i], op.pads[dims.len() + i]);
        if i == 0 {
            if (before, after) != (0, 0) {
                return Err("it pads the batch".into());
            }
            continue;
        }
        let along = axis(i, dims.len())?;
        let number = |v: i64| u16::try_from(v).map_err(|_| "nothing is left of the input");
        let cut = -before.min(0) - after.min(0);
        place.at[along] = number(before.max(0))?;
        place.start[along] = number(-before.min(0))?;
        place.count[along] = number(size as i64 - cut)?;
    }
    context.program.push(&context.node.name, place);
    Ok(State::Integers(output))
}
