//! Folding: what a node computes of constants, and of sizes of which some are open, such as
//! `Shape -> Gather -> Unsqueeze -> Concat -> Reshape`.
//!
//! Exporters leave shape arithmetic in a graph, attention masks, tables of positions, and weights that are standardised at run
//! time. What comes out is a constant like any other, so that it can be cropped and trained, or a list with open sizes.

mod array;
mod compute;

use std::collections::HashMap;

use ndarray::{ArrayD, IxDyn};

use crate::dims::Product;
use crate::graph::{Dim, Graph, ValueId};
use crate::ops::Op;
use crate::{DType, Tensor};

use array::Array;
pub(crate) use array::Folded;

/// An element of a list of sizes: known, or left open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    Known(i64),
    Open(String),
}

impl From<Dim> for Element {
    fn from(dim: Dim) -> Self {
        match dim {
            Dim::Known(n) => i64::try_from(n).map_or(Self::Open(n.to_string()), Self::Known),
            Dim::Symbol(s) => Self::Open(s),
        }
    }
}

impl Element {
    pub fn dim(&self) -> Option<Dim> {
        match self {
            Self::Known(v) => usize::try_from(*v).ok().map(Dim::Known),
            Self::Open(s) => Some(Dim::Symbol(s.clone())),
        }
    }

    fn known(&self) -> Option<i64> {
        match self {
            Self::Known(v) => Some(*v),
            Self::Open(_) => None,
        }
    }

    /// Whether two are equal, where that is sure; no open size is negative.
    fn equals(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Known(a), Self::Known(b)) => Some(a == b),
            (Self::Open(a), Self::Open(b)) => (a == b).then_some(true),
            (Self::Open(_), Self::Known(v)) | (Self::Known(v), Self::Open(_)) => {
                (*v < 0).then_some(false)
            }
        }
    }
}

/// A short tensor of integers of which some are sizes left open.
#[derive(Debug, Clone)]
pub(crate) struct OpenSizes {
    dims: Vec<usize>,
    list: Vec<Element>,
    dtype: DType,
}

impl OpenSizes {
    /// The elements of a list.
    pub fn elements(&self) -> Option<&[Element]> {
        (self.dims.len() == 1).then_some(&self.list)
    }
}

/// The result of a node over constants and sizes, when it is determined and has at most `limit` elements.
pub(crate) fn evaluate(
    graph: &Graph,
    open_sizes: &HashMap<ValueId, OpenSizes>,
    op: &Op,
    inputs: &[Option<ValueId>],
    limit: usize,
) -> Option<Folded> {
    if let Some(sizes) = sizes_read(graph, op, inputs) {
        return sizes.folded();
    }
    // What cannot be folded should not be copied only to find that out.
    let within = |id: &Option<ValueId>| {
        id.is_some_and(|id| {
            open_sizes.contains_key(&id) || graph.constant(id).is_some_and(|t| t.len() <= limit)
        })
    };
    if inputs.is_empty() || !inputs.iter().all(within) {
        return None;
    }
    let look = |id: &Option<ValueId>| match open_sizes.get(&(*id)?) {
        Some(s) => {
            let list = ArrayD::from_shape_vec(IxDyn(&s.dims), s.list.clone()).ok()?;
            Some(Array::Sizes(list, s.dtype))
        }
        None => Array::of(graph.constant((*id)?)?),
    };
    let inputs: Vec<Array> = inputs.iter().map(look).collect::<Option<_>>()?;
    compute::evaluate(op, &inputs, limit)?.folded()
}

/// The constant that `op` makes of constants.
pub(crate) fn evaluate_constant(op: &Op, inputs: &[&Tensor], limit: usize) -> Option<Tensor> {
    let inputs: Vec<Array> = inputs.iter().map(|t| Array::of(t)).collect::<Option<_>>()?;
    match compute::evaluate(op, &inputs, limit)?.folded()? {
        Folded::Tensor(tensor) => Some(tensor),
        Folded::Open(_) => None,
    }
}

/// The sizes of a value that an operator reads, whatever the value holds.
fn sizes_read(graph: &Graph, op: &Op, inputs: &[Option<ValueId>]) -> Option<Array> {
    let shape = || {
        let id = inputs.first().copied().flatten()?;
        graph.value(id).shape.as_deref()
    };
    let (dims, list): (Vec<usize>, Vec<Element>) = match op {
        Op::Shape(op) => {
            let part = shape()?.get(op.range(shape()?.len()))?;
            (
                vec![part.len()],
                part.iter().cloned().map(Element::from).collect(),
            )
        }
        Op::Opaque(op) if op.op_type == "Size" && op.domain.is_empty() => {
            (Vec::new(), vec![Product::of(shape()?)?.dim().into()])
        }
        _ => return None,
    };
    let list = ArrayD::from_shape_vec(IxDyn(&dims), list).ok()?;
    Some(Array::Sizes(list, DType::I64))
}

/// Arithmetic on sizes.
fn combine(op: &str, x: &Element, y: &Element) -> Option<Element> {
    use Element::{Known, Open};
    Some(match (op, x, y) {
        (_, Known(x), Known(y)) => Known(compute::whole(op, *x, *y)?),
        ("Add", Open(s), Known(0)) | ("Add", Known(0), Open(s)) | ("Sub", Open(s), Known(0)) => {
            Open(s.clone())
        }
        ("Mul", ..) => Product::one()
            .times(&x.dim()?)?
            .times(&y.dim()?)?
            .dim()
            .into(),
        ("Div", ..) => Product::one()
            .times(&x.dim()?)?
            .over(&Product::one().times(&y.dim()?)?)?
            .dim()
            .into(),
        _ => return None,
    })
}
