//! Constants that nodes compute while a model is read.

use super::build::Reader;
use crate::fold::{self, Folded};
use crate::ops::Op;
use crate::value::ValueId;
use crate::{GraphError, Tensor};

impl<'a> Reader<'a> {
    /// Defines a constant that a node computes.
    pub(super) fn computed(&mut self, name: &'a str, tensor: Tensor) -> Result<(), GraphError> {
        self.budget.charge(tensor.len());
        let id = self.define(name, None, None)?;
        self.graph.make_constant(id, tensor);
        Ok(())
    }

    /// The result of a node over constants or sizes. A change of the layout of a constant without
    /// other readers is left to [`Reader::relayout`], which does not copy it.
    pub(super) fn compute(&self, op: &Op, inputs: &[Option<ValueId>]) -> Option<Folded> {
        if let (&[Some(only)], true) = (inputs, layout(op).is_some())
            && self.graph.constant(only).is_some()
            && self.uses.get(&only) == Some(&1)
        {
            return None;
        }
        let limit = self.budget.limit();
        fold::evaluate(&self.graph, &self.open_sizes, op, inputs, limit)
    }

    /// Drops the inputs of a folded node that have no further readers.
    pub(super) fn release(&mut self, inputs: &[Option<ValueId>]) {
        for id in inputs.iter().flatten() {
            let Some(uses) = self.uses.get_mut(id) else {
                continue;
            };
            *uses = uses.saturating_sub(1);
            if *uses == 0
                && let Some(tensor) = self.graph.constants.remove(id)
            {
                self.budget.release(tensor.len());
            }
        }
    }

    /// Defines another name for a constant.
    pub(super) fn alias(&mut self, name: &'a str, id: ValueId) -> Result<(), GraphError> {
        if self.scope.insert(name, id).is_some() {
            return Err(GraphError::TwoProducers {
                value: name.to_owned(),
            });
        }
        *self.uses.entry(id).or_default() += self.reads.get(name).copied().unwrap_or(0);
        Ok(())
    }

    /// Applies the last node to its input in place, if that is a constant without other readers
    /// and the node only changes its layout.
    pub(super) fn relayout(&mut self, output: ValueId) -> Result<(), GraphError> {
        let Some(node) = self.graph.nodes.last() else {
            return Ok(());
        };
        let (Some(input), Some(dims)) = (node.input(0), self.graph.dims(output)) else {
            return Ok(());
        };
        if self.uses.get(&input) != Some(&1) || self.graph.constant(input).is_none() {
            return Ok(());
        }
        let Some(perm) = layout(&node.op) else {
            return Ok(());
        };
        let perm = perm.map(<[usize]>::to_vec);
        if let Some(tensor) = self.graph.constants.remove(&input) {
            let tensor = match perm {
                None => tensor.reshaped(dims)?,
                Some(perm) => tensor.permuted(&perm)?,
            };
            self.graph.nodes.pop();
            self.graph.make_constant(output, tensor);
        }
        Ok(())
    }
}

/// For an operator that only changes the layout of its input, the permutation of the axes, if
/// there is one.
fn layout(op: &Op) -> Option<Option<&[usize]>> {
    match op {
        Op::Reshape(_) | Op::Flatten(_) | Op::Squeeze(_) | Op::Unsqueeze(_) => Some(None),
        Op::Transpose(op) => Some(Some(&op.perm)),
        _ => None,
    }
}
