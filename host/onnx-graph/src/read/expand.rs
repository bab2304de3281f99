//! Expand nodes whose target contains the batch.

use super::build::Reader;
use crate::GraphError;
use crate::ops::{self, Expand, Op, Opaque};
use crate::sizes::Size;
use crate::value::{Dim, ValueId};

impl Reader<'_> {
    /// Makes an Expand with an open size take it from a graph input, so that the target contains
    /// no other computed size. If no input has that size, the node becomes opaque.
    pub(super) fn follow_batch(
        &mut self,
        name: &str,
        op: Expand,
        inputs: &mut [Option<ValueId>],
    ) -> Result<Op, GraphError> {
        if inputs[1].is_some_and(|target| self.lists_batch(target, &op.sizes)) {
            return Ok(op.into());
        }
        let source = |size: &Dim| {
            let has = |&id: &ValueId| {
                let shape = self.graph.value(id).shape.as_ref()?;
                Some((id, shape.iter().position(|d| d == size)?))
            };
            self.graph.inputs.iter().find_map(has)
        };
        let part = |size: &Dim| match size.known() {
            Some(n) => Some(Size::Known(n)),
            None => source(size).map(|(id, axis)| Size::Of(id, axis)),
        };
        let Some(parts) = op.sizes.iter().map(part).collect::<Option<Vec<_>>>() else {
            return Ok(Op::Opaque(Opaque {
                op_type: "Expand".to_owned(),
                ..Opaque::default()
            }));
        };
        let target = self.graph.list_sizes(name, parts)?;
        inputs[1] = Some(target);
        Ok(op.into())
    }

    /// Whether a list of sizes has the form that [`Reader::follow_batch`] assembles.
    fn lists_batch(&self, list: ValueId, sizes: &[Dim]) -> bool {
        let producer = |value: ValueId| {
            let mut nodes = self.graph.nodes.iter().rev();
            nodes.find(|n| n.outputs.first() == Some(&Some(value)))
        };
        let part = |(value, size): (&Option<ValueId>, &Dim)| {
            let Some(value) = *value else { return false };
            match (self.graph.constant(value), size.known()) {
                (Some(tensor), Some(n)) => tensor.to_i64s() == Some(vec![n as i64]),
                (None, None) => producer(value).is_some_and(|n| {
                    let sizes = |op: &ops::Shape| op.range(usize::MAX).len() == 1;
                    let of_input = n.input(0).is_some_and(|v| self.graph.inputs.contains(&v));
                    of_input && matches!(&n.op, Op::Shape(op) if sizes(op))
                }),
                _ => false,
            }
        };
        producer(list).is_some_and(|n| match n.op {
            Op::Concat(_) => n.inputs.len() == sizes.len() && n.inputs.iter().zip(sizes).all(part),
            _ => sizes.len() == 1 && part((&Some(list), &sizes[0])),
        })
    }
}
