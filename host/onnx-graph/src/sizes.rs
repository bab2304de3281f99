//! Lists of sizes that a graph assembles at run time.

use std::collections::HashMap;

use crate::dims::{Product, broadcast};
use crate::fold::{self, Element, Folded, OpenSizes};
use crate::graph::Graph;
use crate::ops::{Op, Opaque};
use crate::value::{Dim, Shape, ValueId};
use crate::{DType, GraphError, Tensor, ops};

/// Most elements of a list that is followed.
const MOST: usize = 128;

/// The lists of sizes that are known but for open sizes, by value.
pub(crate) type Lists = HashMap<ValueId, OpenSizes>;

/// A size in a list.
pub(crate) enum Size {
    /// A number.
    Known(usize),
    /// The size of an axis of a value.
    Of(ValueId, usize),
}

impl Graph {
    /// Appends nodes that assemble a list of `sizes`; they are named after `name`.
    pub(crate) fn list_sizes(
        &mut self,
        name: &str,
        sizes: Vec<Size>,
    ) -> Result<ValueId, GraphError> {
        let mut list = Vec::with_capacity(sizes.len());
        for (i, size) in sizes.into_iter().enumerate() {
            let name = format!("{name}_size{i}");
            list.push(match size {
                Size::Known(n) => self.add_constant(&name, Tensor::i64s(vec![n as i64])),
                Size::Of(id, axis) => {
                    let (start, end) = (axis as i64, Some(axis as i64 + 1));
                    let shape = ops::Shape { start, end };
                    self.push(&name, shape.into(), &[id])?
                }
            });
        }
        match list[..] {
            [only] => Ok(only),
            _ => {
                let concat = ops::Concat { axis: 0 };
                self.push(&format!("{name}_sizes"), concat.into(), &list)
            }
        }
    }
    /// The list that the node at `index` of [`Graph::nodes`] makes, if it is a list of sizes.
    pub(crate) fn listed(&self, index: usize, lists: &Lists) -> Option<(ValueId, OpenSizes)> {
        let node = &self.nodes[index];
        let &[Some(output)] = node.outputs.as_slice() else {
            return None;
        };
        if self.value(output).dtype != Some(DType::I64) {
            return None;
        }
        let list = match fold::evaluate(self, lists, &node.op, &node.inputs, MOST)? {
            Folded::Open(list) => list,
            Folded::Tensor(tensor) => OpenSizes {
                dims: tensor.dims().to_vec(),
                list: tensor.to_i64s()?.into_iter().map(Element::Known).collect(),
                dtype: tensor.dtype(),
            },
        };
        Some((output, list))
    }

    /// Sets the output shape of the node at `index` of [`Graph::nodes`] if it is opaque and takes
    /// a list of sizes.
    pub(crate) fn shape_by_sizes(&mut self, index: usize, lists: &Lists) {
        let node = &self.nodes[index];
        let (Op::Opaque(op), Some(Some(output))) = (&node.op, node.outputs.first().copied()) else {
            return;
        };
        let Some(at) = op.sizes_input() else { return };
        let sizes = node.input(at).and_then(|id| lists.get(&id)?.elements());
        let from = node.input(0).and_then(|id| self.value(id).shape.as_deref());
        if let Some(shape) = sizes.and_then(|sizes| shape_of(op, from, sizes)) {
            self.values[output.index()].shape = Some(shape);
        }
    }
}

/// The shape that a node with such a list gives its output; `from` is that of its first input.
fn shape_of(op: &Opaque, from: Option<&[Dim]>, sizes: &[Element]) -> Option<Shape> {
    let stated = || sizes.iter().map(Element::dim).collect::<Option<Shape>>();
    match op.op_type.as_str() {
        "Expand" => broadcast(from?, &stated()?).ok(),
        "Reshape" => {
            let from = from?;
            let copied = |(i, size): (usize, &Element)| match size {
                Element::Known(0) if op.int("allowzero", 0) == 0 => from.get(i).cloned(),
                Element::Known(-1) => Some(Dim::Known(1)),
                size => size.dim(),
            };
            let mut shape: Shape = sizes
                .iter()
                .enumerate()
                .map(copied)
                .collect::<Option<_>>()?;
            let mut rest = sizes
                .iter()
                .enumerate()
                .filter(|(_, s)| s.known() == Some(-1));
            if let (Some((at, _)), None) = (rest.next(), rest.next()) {
                shape[at] = Product::of(from)?.over(&Product::of(&shape)?)?.dim();
            }
            Some(shape)
        }
        "Tile" => {
            let each = from?.iter().zip(stated()?);
            let repeated = each.map(|(size, times)| Product::one().times(size)?.times(&times));
            let shape: Shape = repeated.map(|p| Some(p?.dim())).collect::<Option<_>>()?;
            Some(shape).filter(|shape| shape.len() == sizes.len())
        }
        "Resize" => stated().filter(|to| from.is_some_and(|from| from.len() == to.len())),
        _ => stated(),
    }
}
