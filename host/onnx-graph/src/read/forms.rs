//! Forms of nodes that depend on the values around them.

use super::build::Reader;
use crate::fold::Element;
use crate::graph::Node;
use crate::ops::{self, Op, Opaque};
use crate::types::code;
use crate::value::{Dim, ValueId};
use crate::{Attribute, AttributeValue, GraphError};

impl Reader<'_> {
    /// Whether a node casts its input to the type it already has.
    pub(super) fn keeps_type(&self, op: &Opaque, inputs: &[Option<ValueId>]) -> bool {
        let input = inputs.first().copied().flatten();
        let dtype = input.and_then(|v| self.graph.value(v).dtype);
        op.domain.is_empty() && dtype.is_some() && op.cast_to() == dtype
    }

    /// Makes a CastLike to a known type a Cast to it.
    pub(super) fn cast_to_like(&self, op: &mut Opaque, inputs: &mut Vec<Option<ValueId>>) {
        if !op.domain.is_empty() || op.op_type != "CastLike" {
            return;
        }
        let like = inputs.get(1).copied().flatten();
        let Some(dtype) = like.and_then(|v| self.graph.value(v).dtype) else {
            return;
        };
        "Cast".clone_into(&mut op.op_type);
        op.attributes.push(Attribute {
            name: "to".to_owned(),
            value: AttributeValue::Int(i64::from(code(dtype))),
        });
        inputs.truncate(1);
    }

    /// The Expand equal to a Tile that repeats only axes of size one, and not the second, along
    /// which a Tile may repeat a single channel.
    pub(super) fn expands(&self, op: &Opaque, inputs: &[Option<ValueId>]) -> Option<ops::Expand> {
        let &[Some(from), Some(list)] = inputs else {
            return None;
        };
        if !op.domain.is_empty() || op.op_type != "Tile" || self.graph.opset < 6 {
            return None;
        }
        let shape = self.graph.value(from).shape.as_deref()?;
        let sizes: Vec<Dim> = match self.graph.constant(list) {
            Some(repeats) => {
                let repeats = repeats.to_i64s()?.into_iter();
                let size = |n| usize::try_from(n).ok().map(Dim::Known);
                repeats.map(size).collect::<Option<_>>()?
            }
            None => {
                let repeats = self.open_sizes.get(&list)?.elements()?.iter();
                repeats.map(Element::dim).collect::<Option<_>>()?
            }
        };
        let fits = |(axis, (size, times)): (usize, (&Dim, &Dim))| {
            let single = axis != 1 && *size == Dim::Known(1) && *times != Dim::Known(0);
            single || *times == Dim::Known(1)
        };
        let mut each = shape.iter().zip(&sizes).enumerate();
        (sizes.len() == shape.len() && each.all(fits)).then_some(ops::Expand { sizes })
    }

    /// The Shape node equal to a slice of the sizes that another Shape lists, and its input.
    pub(super) fn range_of_shape(
        &self,
        slice: &ops::Slice,
        inputs: &[Option<ValueId>],
    ) -> Option<(ops::Shape, ValueId)> {
        let &[Some(list)] = inputs else { return None };
        // Only lists of sizes have such a producer.
        self.open_sizes.get(&list)?;
        let from_first = matches!(slice.axes[..], [] | [0 | -1]);
        let (&[start], &[end], true) = (&slice.starts[..], &slice.ends[..], from_first) else {
            return None;
        };
        if !matches!(slice.steps[..], [] | [1]) {
            return None;
        }
        let produces = |n: &&Node| n.outputs.first() == Some(&Some(list));
        let producer = self.graph.nodes.iter().rev().find(produces)?;
        let end = (end < i64::from(i32::MAX)).then_some(end);
        match &producer.op {
            Op::Shape(all) if all.is_whole() => {
                Some((ops::Shape { start, end }, producer.input(0)?))
            }
            _ => None,
        }
    }

    /// Rejects an opaque node of a function with another operator set than the model's if its
    /// meaning may differ there.
    pub(super) fn means_the_same(&self, op: &Op, node: &str, opset: i64) -> Result<(), GraphError> {
        let Op::Opaque(op) = op else { return Ok(()) };
        let model = self.graph.opset;
        let (from, to) = (opset.min(model), opset.max(model));
        if from == to || !op.domain.is_empty() || ops::unchanged(&op.op_type, from, to) {
            return Ok(());
        }
        let reason = format!(
            "{} of operator set {opset}, which a function imports, is not known to mean the same in the model's, {model}; export both at one",
            op.op_type
        );
        Err(GraphError::Unsupported {
            place: format!("node '{node}'"),
            reason,
        })
    }
}
