//! Multiply-accumulates of operators without a typed form.

use prost::Message;

use super::known::find;
use super::seen::Seen;
use crate::attribute::AttributeValue;
use crate::graph::{Dim, Shape};
use crate::proto::{AttributeProto, GraphProto};

/// What an operator multiplies and sums up.
#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Nothing that is counted.
    None,
    /// Something, and no rule says how much.
    Unknown,
    /// For each element of the output, a weight's elements from its second axis on; the weight is the input of this position.
    Window(usize),
    /// For each element of the input, the weight's elements from its second axis on.
    Transposed,
    /// For each element of the output, the summed axis of the matrices at these positions.
    Product(usize, usize),
    /// For each element of the output, as many as the attribute `K` says.
    Packed,
    /// For each step and each image, the weights of input and state once.
    Recurrent,
    /// What its subgraphs do, each as often as the data says.
    Subgraphs,
}

/// The factors whose product are the multiply-accumulates of a node; `None` where they are not known.
pub(super) fn factors(seen: &Seen<'_>, work: Work) -> Option<Shape> {
    let out = || {
        let id = seen.facts.node.outputs.first().copied().flatten()?;
        seen.facts.graph.value(id).shape.clone()
    };
    let with = |mut of: Shape, dims: &[Dim]| {
        of.extend_from_slice(dims);
        Some(of)
    };
    match work {
        Work::None => Some(vec![Dim::Known(0)]),
        Work::Unknown => None,
        Work::Window(weight) => with(out()?, seen.shape(weight)?.get(1..)?),
        Work::Transposed => with(seen.same(0)?, seen.shape(1)?.get(1..)?),
        Work::Product(a, b) => with(out()?, &[summed(seen, a, b)?]),
        Work::Packed => with(out()?, &[Dim::Known(seen.size("K")?)]),
        Work::Recurrent => {
            let ([first, second, _], w, r) = (seen.shape(0)?, seen.shape(1)?, seen.shape(2)?)
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
            let multiplies = seen.op.attributes.iter().any(|a| match &a.value {
                AttributeValue::Encoded(bytes) => {
                    AttributeProto::decode(bytes.as_slice()).map_or(true, |a| in_attribute(&a, 16))
                }
                _ => false,
            });
            (!multiplies).then(|| vec![Dim::Known(0)])
        }
    }
}

/// The size of the axis that two matrices are summed over.
fn summed(seen: &Seen<'_>, a: usize, b: usize) -> Option<Dim> {
    let of = |i: usize, from_end: usize, flag: &str| {
        let shape = seen.shape(i)?;
        let turned = shape.len() > 1 && seen.int(flag, 0) != 0;
        let from_end = if turned { 3 - from_end } else { from_end };
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

/// Whether a subgraph holds a node that multiplies, or one of which that is not known.
fn in_graph(graph: &GraphProto, depth: usize) -> bool {
    graph.node.iter().any(|node| {
        let domain = if node.domain == "ai.onnx" {
            ""
        } else {
            &node.domain
        };
        match find(domain, &node.op_type).map(|known| known.work) {
            Some(Work::None) => false,
            Some(Work::Subgraphs) => {
                depth == 0 || node.attribute.iter().any(|a| in_attribute(a, depth - 1))
            }
            _ => true,
        }
    })
}
