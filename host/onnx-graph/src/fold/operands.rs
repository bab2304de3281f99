//! How an operator is folded, and over what.

use ndarray::ArrayD;

use super::array::{Array, zipped};
use super::sizes::Element;
use crate::Tensor;
use crate::value::Dim;

/// The inputs of a node that is folded.
pub(crate) struct Operands {
    pub arrays: Vec<Array>,
    /// Most elements that the result may have.
    pub limit: usize,
}

impl Operands {
    /// Takes constants as operands; `None` if one has an element type that folding does not
    /// follow.
    pub fn of(tensors: &[&Tensor], limit: usize) -> Option<Self> {
        let arrays = tensors.iter().map(|tensor| Array::of(tensor));
        let arrays = arrays.collect::<Option<_>>()?;
        Some(Self { arrays, limit })
    }

    pub fn get(&self, i: usize) -> Option<Array> {
        self.arrays.get(i).cloned()
    }

    pub fn floats(&self, i: usize) -> Option<ArrayD<f32>> {
        self.get(i)?.floats()
    }

    /// `f` of every element of the first input, which holds floats.
    pub fn map(&self, f: impl Fn(f32) -> f32) -> Option<Array> {
        Some(Array::Floats(self.floats(0)?.mapv(f)))
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
    pub fn apply(
        &self,
        op: &T,
        shape: Option<&[Dim]>,
        operands: impl FnOnce() -> Option<Operands>,
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
        Some(match (operands.get(0)?, operands.get(1)?) {
            (Array::Floats(a), Array::Floats(b)) => {
                let f = self.floats?;
                Array::Floats(zipped(&a, &b, limit, |&a, &b| Some(f(a, b)))?)
            }
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
