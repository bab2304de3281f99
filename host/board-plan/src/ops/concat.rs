//! [Concat](https://onnx.ai/onnx/operators/onnx__Concat.html).

use onnx_graph::ops::Concat;

use super::context::Context;
use crate::state::{Pending, State, Work};

/// The axis of the arena's order (rows, columns, channels) of an axis of the network's.
pub(super) fn axis(axis: usize, rank: usize) -> Result<usize, String> {
    match (rank, axis) {
        (2 | 4, 1) => Ok(2),
        (4, 2) => Ok(0),
        (4, 3) => Ok(1),
        _ => Err(format!("it works along axis {axis} of {rank}")),
    }
}

pub(super) fn lower(context: Context<'_>, op: &Concat) -> Result<State, String> {
    let rank = context.dims(Some(context.node.output()))?.len();
    let along = axis(op.axis(rank).ok_or("its axis is out of range")?, rank)?;
    // The sizes of the parts add up to one that fits.
    context.output()?;
    let parts = (0..context.node.inputs.len()).map(|i| context.image(i));
    let work = Work::Concat(parts.collect::<Result<_, _>>()?, along);
    Ok(State::Pending(Pending::new(&context.node.name, work)))
}
