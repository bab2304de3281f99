//! Folding: computing the results of nodes that read only constants or partly open sizes,
//! such as `Shape -> Gather -> Unsqueeze -> Concat -> Reshape`.
//!
//! Exporters leave shape arithmetic in a graph, attention masks, tables of positions, and weights
//! that the model standardises at run time. Folded, they become constants like any other, which
//! can be cropped and trained, or lists with open sizes. The rule of an operator stands in its
//! file below `ops`.

mod array;
mod operands;
mod runs;
mod sizes;

use std::collections::HashMap;

use crate::Tensor;
use crate::graph::Graph;
use crate::ops::Op;
use crate::value::ValueId;

pub(crate) use array::{Array, Folded, chosen, common, each, volume, zipped};
pub(crate) use operands::{Arithmetic, Fold, Operand, Operands};
pub(crate) use runs::{Runs, strides};
pub(crate) use sizes::{Element, OpenSizes};

/// The result of a node, if constants and sizes determine it and it has at most `limit` elements.
pub(crate) fn evaluate(
    graph: &Graph,
    open_sizes: &HashMap<ValueId, OpenSizes>,
    op: &Op,
    inputs: &[Option<ValueId>],
    limit: usize,
) -> Option<Folded> {
    let first = inputs.first().copied().flatten();
    let shape = first.and_then(|id| graph.value(id).shape.as_deref());
    let operands = || {
        // Checked before anything is copied.
        let within = |id: &Option<ValueId>| {
            id.is_some_and(|id| {
                open_sizes.contains_key(&id) || graph.constant(id).is_some_and(|t| t.len() <= limit)
            })
        };
        if inputs.is_empty() || !inputs.iter().all(within) {
            return None;
        }
        let operand = |id: &Option<ValueId>| match open_sizes.get(&(*id)?) {
            Some(sizes) => Some(Operand::Sizes(sizes)),
            None => Some(Operand::Constant(graph.constant((*id)?)?)),
        };
        let operands = inputs.iter().map(operand).collect::<Option<_>>()?;
        Some(Operands { operands, limit })
    };
    op.fold(shape, operands)?.folded()
}

/// The result of `op` over constants, if it is a constant of at most `limit` elements.
pub(crate) fn evaluate_constant(op: &Op, inputs: &[&Tensor], limit: usize) -> Option<Tensor> {
    match op
        .fold(None, || Some(Operands::of(inputs, limit)))?
        .folded()?
    {
        Folded::Tensor(tensor) => Some(tensor),
        Folded::Open(_) => None,
    }
}
