//! [Add](https://onnx.ai/onnx/operators/onnx__Add.html).

use super::context::Context;
use crate::state::{Pending, State, Work};

pub(super) fn lower(context: Context<'_>) -> Result<State, String> {
    let (a, b) = (context.integers(0)?, context.integers(1)?);
    if a.dims() != b.dims() {
        return Err("its summands have different shapes".into());
    }
    let work = Work::Add([a, b]);
    Ok(State::Pending(Pending::new(&context.node.name, work)))
}
