//! [Resize](https://onnx.ai/onnx/operators/onnx__Resize.html) to the nearest element, by whole
//! factors.

use int8_engine::Place;
use onnx_graph::ops::Resize;

use super::context::Context;
use crate::state::State;

pub(super) fn lower(mut context: Context<'_>, op: &Resize) -> Result<State, String> {
    let input = context.image(0)?;
    let output = context.tensor_like(&input)?;
    let mut place = Place {
        count: context.output()?,
        ..Place::all(input.tensor, output.tensor)
    };
    for axis in 0..2 {
        let size = input.dims()[axis];
        let sources = op
            .nearest(axis, size)
            .ok_or("boards take the nearest element")?;
        let factor = sources.len() / size;
        let repeated = |(at, &source): (usize, &usize)| source == at / factor.max(1);
        if factor * size != sources.len() || !sources.iter().enumerate().all(repeated) {
            return Err("boards repeat each element, by whole factors".into());
        }
        place.repeat[axis] = u16::try_from(factor).map_err(|_| "its factor is too large")?;
    }
    context.program.push(&context.node.name, place);
    Ok(State::Integers(output))
}
