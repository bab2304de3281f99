//! How an operator is folded, and over what.

use ndarray::{ArrayD, IxDyn};

use super::array::{Array, common, zipped};
use super::runs::{Runs, spread};
use super::sizes::{Element, OpenSizes};
use crate::Tensor;
use crate::value::Dim;

/// An input of a node that is folded.
#[derive(Clone, Copy)]
pub(crate) enum Operand<'a> {
    Constant(&'a Tensor),
    Sizes(&'a OpenSizes),
}

/// The inputs of a node that is folded. Nothing is copied before a rule reads it.
pub(crate) struct Operands<'a> {
    pub operands: Vec<Operand<'a>>,
    /// Most elements that the result may have.
    pub limit: usize,
}

impl<'a> Operands<'a> {
    /// Takes constants as operands.
    pub fn of(tensors: &[&'a Tensor], limit: usize) -> Self {
        let operands = tensors.iter().map(|tensor| Operand::Constant(tensor));
        Self {
            operands: operands.collect(),
            limit,
        }
    }

    /// A copy of operand `i`; `None` if it has an element type that folding does not follow.
    pub fn get(&self, i: usize) -> Option<Array> {
        match self.operands.get(i)? {
            Operand::Constant(tensor) => Array::of(tensor),
            Operand::Sizes(sizes) => {
                let list = ArrayD::from_shape_vec(IxDyn(&sizes.dims), sizes.list.clone());
                Some(Array::Sizes(list.ok()?, sizes.dtype))
            }
        }
    }

    /// Dimensions and elements of operand `i`, if it is a constant of floats.
    pub fn slice(&self, i: usize) -> Option<(&'a [usize], &'a [f32])> {
        match self.operands.get(i)? {
            Operand::Constant(tensor) => Some((tensor.dims(), tensor.as_f32()?)),
            Operand::Sizes(_) => None,
        }
    }

    pub fn floats(&self, i: usize) -> Option<ArrayD<f32>> {
        self.get(i)?.floats()
    }

    /// `f` of every element of the first input, which holds floats.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Option<Array> {
        let (dims, x) = self.slice(0)?;
        let list = x.iter().map(|&v| f(v)).collect();
        Some(Array::Floats(
            ArrayD::from_shape_vec(IxDyn(dims), list).ok()?,
        ))
    }
}

/// How constants and sizes determine the result of an operator `T`.
pub(crate) enum Fold<T> {
    /// They do not, by any rule of this crate.
    Never,
    /// By the elements of all inputs.
    Elements(fn(&T, &Operands) -> Option<Array>),
    /// By the shape of the first input, whatever that holds.
    Shape(fn(&T, &[Dim]) -> Option<Array>),
}

impl<T> Fold<T> {
    pub const fn is_never(&self) -> bool {
        matches!(self, Self::Never)
    }

    /// The result of `op`, if it is determined and within the limit. `operands` are collected
    /// only where a rule reads them.
    pub fn apply<'a>(
        &self,
        op: &T,
        shape: Option<&[Dim]>,
        operands: impl FnOnce() -> Option<Operands<'a>>,
    ) -> Option<Array> {
        match self {
            Self::Never => None,
            Self::Elements(fold) => {
                let operands = operands()?;
                fold(op, &operands).filter(|array| array.len() <= operands.limit)
            }
            Self::Shape(fold) => fold(op, shape?),
        }
    }
}

/// An operation on two elements, for each element type that folding follows.
pub(crate) struct Arithmetic {
    pub floats: Option<fn(f32, f32) -> f32>,
    /// On integers; `None` on overflow.
    pub integers: fn(i64, i64) -> Option<i64>,
    /// On partly open sizes; `None` where the result is undetermined.
    pub sizes: fn(&Element, &Element) -> Option<Element>,
}

impl Arithmetic {
    /// The operation on two broadcast operands.
    pub fn fold(&self, operands: &Operands) -> Option<Array> {
        let limit = operands.limit;
        if let (Some(a), Some(b)) = (operands.slice(0), operands.slice(1)) {
            return Some(Array::Floats(paired(a, b, limit, self.floats?)?));
        }
        Some(match (operands.get(0)?, operands.get(1)?) {
            (Array::Ints(a, dtype), Array::Ints(b, _)) => {
                let f = self.integers;
                Array::Ints(zipped(&a, &b, limit, |&a, &b| f(a, b))?, dtype)
            }
            (a, b) => {
                let dtype = a.integers()?;
                Array::Sizes(zipped(&a.sizes()?, &b.sizes()?, limit, self.sizes)?, dtype)
            }
        })
    }
}

/// `f` of the pairs of two arrays that broadcast against each other.
fn paired(
    (a_dims, a): (&[usize], &[f32]),
    (b_dims, b): (&[usize], &[f32]),
    limit: usize,
    f: fn(f32, f32) -> f32,
) -> Option<ArrayD<f32>> {
    let dims = common(a_dims, b_dims, limit)?;
    let mut out = Vec::with_capacity(dims.iter().product());
    let steps = [spread(a_dims, &dims), spread(b_dims, &dims)];
    Runs::new(&dims, [&steps[0], &steps[1]]).each(|at, length, step| {
        let pair = |i| f(a[at[0] + i * step[0]], b[at[1] + i * step[1]]);
        match step {
            [1, 1] => {
                let pairs = a[at[0]..][..length].iter().zip(&b[at[1]..][..length]);
                out.extend(pairs.map(|(&a, &b)| f(a, b)));
            }
            [1, 0] => {
                let b = b[at[1]];
                out.extend(a[at[0]..][..length].iter().map(|&a| f(a, b)));
            }
            _ => out.extend((0..length).map(pair)),
        }
    });
    ArrayD::from_shape_vec(IxDyn(&dims), out).ok()
}
