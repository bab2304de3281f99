//! [Flatten](https://onnx.ai/onnx/operators/onnx__Flatten.html),
//! [Reshape](https://onnx.ai/onnx/operators/onnx__Reshape.html) and others that keep the elements
//! in their order: nothing runs on the board.

use super::context::Context;
use crate::state::State;
use crate::value::{Integers, image, tensor};

pub(super) fn lower(context: Context<'_>) -> Result<State, String> {
    let dims = context.dims(Some(context.node.output()))?;
    let shape = image(&dims)?;
    match context.state(0)? {
        State::Integers(integers) => Ok(State::Integers(seen_as(*integers, shape)?)),
        State::Pending(pending) if pending.work.shape() == shape => {
            Ok(State::Pending(pending.clone()))
        }
        State::Pending(_) => Err("its input is not quantised".into()),
        State::Image => Err("the network's input has another shape on the board".into()),
        State::Softmax(_) => Err("a Softmax runs on the host, as the last operator".into()),
    }
}

/// The same integers with another shape. An image becomes a row without being moved, so the row has
/// the order of the board: channels last.
fn seen_as(integers: Integers, shape: [u16; 3]) -> Result<Integers, String> {
    let [height, width, _] = integers.dims();
    let row = shape[..2] == [1, 1];
    if height * width == 1 && row {
        let tensor = tensor(shape, integers.tensor.offset, integers.tensor.zero_point);
        return Ok(Integers { tensor, ..integers });
    }
    if row || shape.map(usize::from) == integers.dims() {
        return Ok(integers);
    }
    Err("images change their shape to a row only".into())
}
