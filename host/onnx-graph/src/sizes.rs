//! Lists of sizes that a graph assembles at run time.

use std::collections::{BTreeSet, HashMap};

use crate::dims::{self, Product, broadcast};
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

    /// The entries of a list of integers that is computed, each where constants and fixed sizes
    /// determine it; `None` if no rule follows the list.
    #[must_use]
    pub fn entries(&self, list: ValueId) -> Option<Vec<Option<i64>>> {
        let producers = self.producers();
        let mut needed = BTreeSet::new();
        let mut next = vec![list];
        while let Some(id) = next.pop() {
            let Some(made) = producers[id.index()] else {
                continue;
            };
            let node = self.node(made);
            if needed.insert(made.index()) && !matches!(node.op, Op::Shape(_)) {
                next.extend(node.inputs.iter().flatten());
            }
        }
        let mut lists = Lists::new();
        for index in needed {
            lists.extend(self.listed(index, &lists));
        }
        let entries = lists.remove(&list)?.list;
        Some(entries.iter().map(Element::known).collect())
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
        let named = (op, node.name.as_str());
        let shape = sizes.and_then(|sizes| match (op.op_type.as_str(), node.input(3)) {
            ("Pad", Some(axes)) => {
                let axes = self.constant(axes)?.to_i64s()?;
                shape_of(named, from, &for_all(from?.len(), sizes, &axes)?)
            }
            _ => shape_of(named, from, sizes),
        });
        let Some(mut shape) = shape else { return };
        let stated = &mut self.values[output.index()].shape;
        let same_rank = stated.take().filter(|stated| stated.len() == shape.len());
        for (size, stated) in shape.iter_mut().zip(same_rank.into_iter().flatten()) {
            if matches!(size, Dim::Symbol(name) if name.contains(ops::INVENTED)) {
                *size = stated;
            }
        }
        *stated = Some(shape);
    }
}

/// Paddings of all axes for those of `axes`: the begins, then the ends.
fn for_all(rank: usize, pads: &[Element], axes: &[i64]) -> Option<Vec<Element>> {
    let mut all = vec![Element::Known(0); 2 * rank];
    if pads.len() != 2 * axes.len() {
        return None;
    }
    for (i, &axis) in axes.iter().enumerate() {
        let at = dims::axis(axis, rank).ok()?;
        all[at] = pads[i].clone();
        all[rank + at] = pads[axes.len() + i].clone();
    }
    Some(all)
}

/// The shape that a node with such a list gives its output; `from` is that of its first input.
fn shape_of((op, name): (&Opaque, &str), from: Option<&[Dim]>, sizes: &[Element]) -> Option<Shape> {
    let open = |axis: usize| Dim::Symbol(format!("{}{name}_dim{axis}", ops::INVENTED));
    let size = |(i, size): (usize, &Element)| match size {
        Element::Unknown => Some(open(i)),
        size => size.dim(),
    };
    let stated = || {
        sizes
            .iter()
            .enumerate()
            .map(size)
            .collect::<Option<Shape>>()
    };
    match op.op_type.as_str() {
        "Expand" => broadcast(from?, &stated()?).ok(),
        "Reshape" => {
            let from = from?;
            let copied = |(i, element): (usize, &Element)| match element {
                Element::Known(0) if op.int("allowzero", 0) == 0 => from.get(i).cloned(),
                Element::Known(-1) => Some(Dim::Known(1)),
                element => size((i, element)),
            };
            let each = sizes.iter().enumerate().map(copied);
            let mut shape: Shape = each.collect::<Option<_>>()?;
            let inferred = |(_, s): &(usize, &Element)| s.known() == Some(-1);
            let mut rest = sizes.iter().enumerate().filter(inferred);
            if let (Some((at, _)), None) = (rest.next(), rest.next()) {
                let rest = || Product::of(from)?.over(&Product::of(&shape)?);
                shape[at] = rest().map_or_else(|| open(at), Product::dim);
            }
            Some(shape)
        }
        "Tile" => {
            let each = from?.iter().zip(stated()?);
            let repeated = each.map(|(size, times)| Product::one().times(size)?.times(&times));
            let shape: Shape = repeated.map(|p| Some(p?.dim())).collect::<Option<_>>()?;
            Some(shape).filter(|shape| shape.len() == sizes.len())
        }
        "Pad" => {
            let from = from?;
            let (begins, ends) = sizes.split_at_checked(from.len())?;
            let padded = |(axis, size): (usize, &Dim)| match (
                begins[axis].known(),
                ends.get(axis)?.known(),
                size,
            ) {
                (Some(0), Some(0), size) => Some(size.clone()),
                (Some(begin), Some(end), Dim::Known(n)) => {
                    let added = begin.checked_add(end)?;
                    let size = i64::try_from(*n).ok()?.checked_add(added)?;
                    usize::try_from(size).ok().map(Dim::Known)
                }
                _ => Some(open(axis)),
            };
            from.iter().enumerate().map(padded).collect()
        }
        "Resize" => stated().filter(|to| from.is_some_and(|from| from.len() == to.len())),
        _ => stated(),
    }
}
