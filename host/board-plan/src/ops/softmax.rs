//! [Softmax](https://onnx.ai/onnx/operators/onnx__Softmax.html) as the last operator: it does not
//! change the order of the classes and is left to the reader of the result.

use onnx_graph::ops::Softmax;

use super::context::Context;
use crate::state::State;

pub(super) fn lower(context: Context<'_>, op: &Softmax) -> Result<State, String> {
    let rank = context.dims(context.node.input(0))?.len();
    if op.axis(rank) != Some(1) {
        return Err("boards leave a Softmax over the classes to the host".into());
    }
    match context.state(0)? {
        State::Softmax(_) | State::Image => Err("its input is not quantised".into()),
        state => Ok(State::Softmax(Box::new(state.clone()))),
    }
}
