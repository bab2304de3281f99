//! [Slice](https://onnx.ai/onnx/operators/onnx__Slice.html).

use int8_engine::Place;
use onnx_graph::ops::Slice;

use super::concat::axis;
use super::context::Context;
use crate::state::State;

pub(super) fn lower(mut context: Context<'_>, op: &Slice) -> Result<State, String> {
    let input = context.image(0)?;
    let rank = context.dims(context.node.input(0))?.len();
    let output = context.tensor_like(&input)?;
    let mut place = Place {
        count: context.output()?,
        ..Place::all(input.tensor, output.tensor)
    };
    for i in 0..op.starts.len() {
        let along = op.axis(i, rank).ok_or("an axis is out of range")?;
        let size = context.dims(context.node.input(0))?[along];
        let (start, step, count) = op.taken(i, size).ok_or("a bound is out of range")?;
        if along == 0 {
            if (start, count) != (0, 1) {
                return Err("it cuts the batch".into());
            }
            continue;
        }
        let along = axis(along, rank)?;
        let number = |v: i64| u16::try_from(v).map_err(|_| "boards take no backward steps");
        (place.start[along], place.step[along]) = (number(start)?, number(step)?);
    }
    context.program.push(&context.node.name, place);
    Ok(State::Integers(output))
}
