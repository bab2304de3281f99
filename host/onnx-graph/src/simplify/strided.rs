//! Views by strides, in which form PyTorch's newer exporter writes a mean over an image: the
//! values as one list, and a Gather of positions computed from the batch, `n * step + offset`. If
//! these are all positions in order, the view is a Reshape.

use super::neighbours::Neighbours;
use crate::Tensor;
use crate::attribute::AttributeValue;
use crate::dims::Product;
use crate::fold::evaluate_constant;
use crate::graph::Graph;
use crate::ops::{Add, Mul, Op, Reshape};
use crate::patch::Patch;
use crate::value::{Dim, NodeId, ValueId};

/// Most offsets of a view.
const MOST: usize = 1 << 16;

/// Positions `n * step + offset` for `n` below the open size `count`, the first axis.
struct Positions {
    count: Dim,
    step: i64,
    /// Offsets, with size 1 along the first axis.
    offset: Tensor,
}

/// Replaces a Gather of all positions in order.
pub(super) fn view(graph: &Graph, neighbours: &Neighbours, id: NodeId) -> Option<Patch> {
    let node = graph.node(id);
    let Op::Opaque(op) = &node.op else {
        return None;
    };
    let first = op
        .attributes
        .iter()
        .all(|a| a.name == "axis" && a.value == AttributeValue::Int(0));
    if op.op_type != "Gather" || !op.domain.is_empty() || !first {
        return None;
    }
    let list = graph.node(neighbours.producers[node.input(0)?.index()]?);
    let flat = matches!(&list.op, Op::Reshape(r) if r.target == [-1]);
    let source = list.input(0).filter(|_| flat)?;
    let positions = positions(graph, neighbours, node.input(1)?)?;
    let (batch, rest) = graph.value(source).shape.as_deref()?.split_first()?;
    let size = Product::of(rest)?.dim().known()?;
    let in_order = positions
        .offset
        .to_i64s()?
        .into_iter()
        .eq(0..i64::try_from(size).ok()?);
    if *batch != positions.count || positions.step != i64::try_from(size).ok()? || !in_order {
        return None;
    }
    let sizes = positions.offset.dims()[1..].iter().map(|&d| d as i64);
    let reshape = Reshape {
        target: [0].into_iter().chain(sizes).collect(),
        allow_zero: false,
    };
    let mut patch = Patch::new(&node.name);
    let wire = patch.node(&node.name, reshape, &[source.into()]);
    patch.replace(node.output(), wire);
    Some(patch)
}

fn positions(graph: &Graph, neighbours: &Neighbours, value: ValueId) -> Option<Positions> {
    let node = graph.node(neighbours.producers[value.index()]?);
    let single = |i: usize| match graph.constant(node.input(i)?)?.to_i64s()?[..] {
        [one] => Some(one),
        _ => None,
    };
    // The computed operand and the constant one.
    let operands = || {
        let (a, b) = (node.input(0)?, node.input(1)?);
        match (graph.constant(a), graph.constant(b)) {
            (None, Some(constant)) => Some((a, constant)),
            (Some(constant), None) => Some((b, constant)),
            _ => None,
        }
    };
    match &node.op {
        Op::Opaque(op) if op.op_type == "Range" && op.domain.is_empty() => {
            let count = size(graph, neighbours, node.input(1)?)?;
            (single(0)? == 0 && single(2)? == 1).then(|| Positions {
                count,
                step: 1,
                offset: Tensor::i64s(vec![0]),
            })
        }
        Op::Mul(_) => {
            let (computed, factor) = operands()?;
            let [by] = factor.to_i64s()?[..] else {
                return None;
            };
            let inner = positions(graph, neighbours, computed)?;
            let offset = evaluate_constant(&Mul.into(), &[&inner.offset, factor], MOST)?;
            (offset.dims().len() == inner.offset.dims().len()).then_some(Positions {
                step: inner.step.checked_mul(by)?,
                offset,
                ..inner
            })
        }
        Op::Unsqueeze(op) => {
            let inner = positions(graph, neighbours, node.input(0)?)?;
            let rank = inner.offset.dims().len() + op.axes.len();
            let behind = !crate::dims::axes(&op.axes, rank).ok()?.contains(&0);
            let offset = evaluate_constant(&node.op, &[&inner.offset], MOST)?;
            behind.then_some(Positions { offset, ..inner })
        }
        Op::Add(_) => {
            let (computed, more) = operands()?;
            let inner = positions(graph, neighbours, computed)?;
            let offset = evaluate_constant(&Add.into(), &[&inner.offset, more], MOST)?;
            let same_axis =
                offset.dims().len() == inner.offset.dims().len() && offset.dims()[0] == 1;
            same_axis.then_some(Positions { offset, ..inner })
        }
        _ => None,
    }
}

/// The size that a value of one element holds.
fn size(graph: &Graph, neighbours: &Neighbours, value: ValueId) -> Option<Dim> {
    let node = graph.node(neighbours.producers[value.index()]?);
    let from = node.input(0)?;
    match &node.op {
        Op::Shape(op) => {
            let shape = graph.value(from).shape.as_ref()?;
            let range = op.range(shape.len());
            (range.len() == 1).then(|| shape[range.start].clone())
        }
        Op::Gather(op) => {
            let of = graph.node(neighbours.producers[from.index()]?);
            let (Op::Shape(shape), [index]) = (&of.op, op.indices.as_slice()) else {
                return None;
            };
            let dims = graph.value(of.input(0)?).shape.as_ref()?;
            let part = &dims[shape.range(dims.len())];
            Some(part[crate::dims::axis(*index, part.len()).ok()?].clone())
        }
        Op::Squeeze(_) | Op::Reshape(_) | Op::Identity(_) => size(graph, neighbours, from),
        _ => None,
    }
}
