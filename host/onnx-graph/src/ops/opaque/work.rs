//! Multiply-accumulates of operators without a typed form.

use prost::Message;

use super::node::OpaqueNode;
use super::signature::Work;
use super::table::find;
use crate::attribute::AttributeValue;
use crate::proto::{AttributeProto, GraphProto, plain};
use crate::value::{Dim, Shape};

/// The factors of the multiply-accumulates of a node; `None` if they are unknown.
pub(super) fn factors(node: &OpaqueNode<'_>, work: Work) -> Option<Shape> {
    let out = || {
        let id = node.facts.outputs.first().copied().flatten()?;
        node.facts.values.get(id).shape.clone()
    };
    let with = |mut of: Shape, dims: &[Dim]| {
        of.extend_from_slice(dims);
        Some(of)
    };
    match work {
        Work::None => Some(vec![Dim::Known(0)]),
        Work::Unknown => None,
        Work::Window(weight) => with(out()?, node.shape(weight)?.get(1..)?),
        Work::Transposed => with(node.same(0)?, node.shape(1)?.get(1..)?),
        Work::Product(a, b) => with(out()?, &[summed(node, a, b)?]),
        Work::Packed => with(out()?, &[Dim::Known(node.size("K")?)]),
        Work::Recurrent => {
            let ([first, second, _], w, r) = (node.shape(0)?, node.shape(1)?, node.shape(2)?)
            else {
                return None;
            };
            let size = |dims: &[Dim]| {
                let mut known = dims.iter().map(Dim::known);
                known.try_fold(1usize, |p, d| p.checked_mul(d?))
            };
            let both = size(w)?.checked_add(size(r)?)?;
            Some(vec![first.clone(), second.clone(), Dim::Known(both)])
        }
        Work::Subgraphs => {
            let multiplies = node.op.attributes.iter().any(|a| match &a.value {
                AttributeValue::Encoded(bytes) => {
                    AttributeProto::decode(bytes.as_slice()).map_or(true, |a| in_attribute(&a, 16))
                }
                _ => false,
            });
            (!multiplies).then(|| vec![Dim::Known(0)])
        }
    }
}

/// The size of the summed axis of a matrix product.
fn summed(node: &OpaqueNode<'_>, a: usize, b: usize) -> Option<Dim> {
    let of = |i: usize, from_end: usize, flag: &str| {
        let shape = node.shape(i)?;
        let transposed = shape.len() > 1 && node.int(flag, 0) != 0;
        let from_end = if transposed { 3 - from_end } else { from_end };
        let at = shape.len().checked_sub(from_end.min(shape.len()))?;
        shape.get(at)
    };
    let (right, left) = (of(b, 2, "transB"), of(a, 1, "transA"));
    let known = [right, left].into_iter().flatten();
    known
        .clone()
        .find(|d| d.known().is_some())
        .or_else(|| known.clone().next())
        .cloned()
}

fn in_attribute(attribute: &AttributeProto, depth: usize) -> bool {
    let subgraphs = attribute.g.iter().chain(&attribute.graphs);
    let multiplies = |bytes: &Vec<u8>| {
        GraphProto::decode(bytes.as_slice()).map_or(true, |g| in_graph(&g, depth))
    };
    subgraphs.into_iter().any(multiplies)
}

/// Whether a subgraph contains a node that multiplies, or may.
fn in_graph(graph: &GraphProto, depth: usize) -> bool {
    graph.node.iter().any(|node| {
        match find(plain(&node.domain), &node.op_type).map(|signature| signature.work) {
            Some(Work::None) => false,
            Some(Work::Subgraphs) => {
                depth == 0 || node.attribute.iter().any(|a| in_attribute(a, depth - 1))
            }
            _ => true,
        }
    })
}
