//! Arrays of the element types that folding follows.

use ndarray::{ArrayD, ArrayViewD, Axis, IxDyn, Zip, concatenate};

use super::sizes::{Element, OpenSizes};
use crate::dims::broadcast;
use crate::value::Dim;
use crate::{DType, Tensor, TensorData};

/// Most elements of a list with open sizes.
const MOST_OPEN: usize = 128;

/// The elements of an operand or result.
#[derive(Debug, Clone)]
pub(crate) enum Array {
    Floats(ArrayD<f32>),
    Flags(ArrayD<bool>),
    /// Integers of 64 or 32 bits.
    Ints(ArrayD<i64>, DType),
    /// Integers, some of them open sizes.
    Sizes(ArrayD<Element>, DType),
}

/// Applies an expression that keeps the element type.
macro_rules! each {
    ($array:expr, $x:ident => $body:expr) => {
        match $array {
            $crate::fold::Array::Floats($x) => $crate::fold::Array::Floats($body),
            $crate::fold::Array::Flags($x) => $crate::fold::Array::Flags($body),
            $crate::fold::Array::Ints($x, dtype) => $crate::fold::Array::Ints($body, dtype),
            $crate::fold::Array::Sizes($x, dtype) => $crate::fold::Array::Sizes($body, dtype),
        }
    };
}
pub(crate) use each;

/// The result of a fold.
pub(crate) enum Folded {
    /// A constant.
    Tensor(Tensor),
    /// A list with open sizes.
    Open(OpenSizes),
}

impl Array {
    /// The elements of a constant; `None` for element types that folding does not follow.
    pub fn of(tensor: &Tensor) -> Option<Self> {
        let dims = IxDyn(tensor.dims());
        let shaped = |list: Vec<i64>| ArrayD::from_shape_vec(dims.clone(), list).ok();
        Some(match tensor.data() {
            TensorData::F32(v) => Self::Floats(ArrayD::from_shape_vec(dims, v.clone()).ok()?),
            TensorData::Bool(v) => Self::Flags(ArrayD::from_shape_vec(dims, v.clone()).ok()?),
            TensorData::I64(_) | TensorData::I32(_) => {
                Self::Ints(shaped(tensor.to_i64s()?)?, tensor.dtype())
            }
            _ => return None,
        })
    }

    /// The array as a constant, or as a short list with open sizes.
    pub fn folded(self) -> Option<Folded> {
        fn list<T: Clone>(x: ArrayD<T>) -> (Vec<usize>, Vec<T>) {
            let dims = x.shape().to_vec();
            let whole = x.is_standard_layout() && x.as_slice().is_some();
            match (whole, x.len()) {
                // An array that was cut out of a longer one holds more elements than its own.
                (true, len) => match x.into_raw_vec_and_offset() {
                    (v, None | Some(0)) if v.len() == len => (dims, v),
                    (v, offset) => (dims, v[offset.unwrap_or(0)..][..len].to_vec()),
                },
                (false, _) => (dims, x.into_iter().collect()),
            }
        }
        let ints = |list: Vec<i64>, dtype| match dtype {
            DType::I32 => {
                let narrow = list.into_iter().map(|v| i32::try_from(v).ok());
                narrow.collect::<Option<_>>().map(TensorData::I32)
            }
            _ => Some(TensorData::I64(list)),
        };
        let (dims, data) = match self {
            Self::Floats(x) => {
                let (dims, v) = list(x);
                (dims, TensorData::F32(v))
            }
            Self::Flags(x) => {
                let (dims, v) = list(x);
                (dims, TensorData::Bool(v))
            }
            Self::Ints(x, dtype) => {
                let (dims, v) = list(x);
                (dims, ints(v, dtype)?)
            }
            Self::Sizes(x, dtype) => {
                let (dims, list) = list(x);
                let known: Option<Vec<i64>> = list.iter().map(Element::known).collect();
                match known {
                    Some(v) => (dims, ints(v, dtype)?),
                    None if list.len() > MOST_OPEN => return None,
                    None => return Some(Folded::Open(OpenSizes { dims, list, dtype })),
                }
            }
        };
        Tensor::new(dims, data).ok().map(Folded::Tensor)
    }

    pub fn dims(&self) -> &[usize] {
        match self {
            Self::Floats(x) => x.shape(),
            Self::Flags(x) => x.shape(),
            Self::Ints(x, _) => x.shape(),
            Self::Sizes(x, _) => x.shape(),
        }
    }

    pub fn len(&self) -> usize {
        self.dims().iter().product()
    }

    pub fn floats(self) -> Option<ArrayD<f32>> {
        if let Self::Floats(x) = self {
            Some(x)
        } else {
            None
        }
    }

    pub fn flags(self) -> Option<ArrayD<bool>> {
        if let Self::Flags(x) = self {
            Some(x)
        } else {
            None
        }
    }

    pub fn ints(self) -> Option<ArrayD<i64>> {
        if let Self::Ints(x, _) = self {
            Some(x)
        } else {
            None
        }
    }

    /// The element type of an array of integers.
    pub fn integers(&self) -> Option<DType> {
        match self {
            Self::Ints(_, dtype) | Self::Sizes(_, dtype) => Some(*dtype),
            _ => None,
        }
    }

    /// Integers as elements of a list of sizes.
    pub fn sizes(self) -> Option<ArrayD<Element>> {
        match self {
            Self::Ints(x, _) => Some(x.mapv(Element::Known)),
            Self::Sizes(x, _) => Some(x),
            _ => None,
        }
    }

    pub fn reshaped(self, dims: &[usize]) -> Option<Self> {
        Some(each!(self, x => {
            let plain = x.as_standard_layout().into_owned();
            plain.into_shape_with_order(IxDyn(dims)).ok()?
        }))
    }

    pub fn permuted(self, perm: &[usize]) -> Option<Self> {
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        (sorted.iter().copied().eq(0..self.dims().len()))
            .then(|| each!(self, x => x.permuted_axes(IxDyn(perm))))
    }

    pub fn broadcast(self, dims: &[usize]) -> Option<Self> {
        Some(each!(self, x => x.broadcast(IxDyn(dims))?.to_owned()))
    }

    /// Concatenates arrays of one rank and element type.
    pub fn concatenated(parts: Vec<Self>, axis: usize) -> Option<Self> {
        fn join<T: Clone>(
            parts: Vec<Array>,
            axis: usize,
            take: impl Fn(Array) -> Option<ArrayD<T>>,
        ) -> Option<ArrayD<T>> {
            let parts: Vec<ArrayD<T>> = parts.into_iter().map(take).collect::<Option<_>>()?;
            let views: Vec<_> = parts.iter().map(|p| p.view()).collect();
            concatenate(Axis(axis), &views).ok()
        }
        let open = parts.iter().any(|p| matches!(p, Self::Sizes(..)));
        Some(match parts.first()? {
            Self::Floats(_) => Self::Floats(join(parts, axis, Self::floats)?),
            Self::Flags(_) => Self::Flags(join(parts, axis, Self::flags)?),
            &(Self::Ints(_, dtype) | Self::Sizes(_, dtype)) if open => {
                Self::Sizes(join(parts, axis, Self::sizes)?, dtype)
            }
            &(Self::Ints(_, dtype) | Self::Sizes(_, dtype)) => {
                Self::Ints(join(parts, axis, Self::ints)?, dtype)
            }
        })
    }
}

/// The number of elements, if it is within the limit. The axes beside an empty one must not
/// overflow either: strides are products of them.
pub(crate) fn volume(dims: &[usize], limit: usize) -> Option<usize> {
    let strides = dims
        .iter()
        .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
    strides.filter(|&n| isize::try_from(n).is_ok())?;
    let count = dims.iter().product::<usize>();
    (count <= limit).then_some(count)
}

/// The dimensions that two arrays broadcast to, if their product is within the limit.
pub(crate) fn common(a: &[usize], b: &[usize], limit: usize) -> Option<Vec<usize>> {
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let dims = broadcast(&known(a), &known(b)).ok()?;
    let dims: Vec<usize> = dims.iter().map(Dim::known).collect::<Option<_>>()?;
    volume(&dims, limit).map(|_| dims)
}

fn broadcast_pair<'a, A, B>(
    a: &'a ArrayD<A>,
    b: &'a ArrayD<B>,
    limit: usize,
) -> Option<(ArrayViewD<'a, A>, ArrayViewD<'a, B>)> {
    let dims = common(a.shape(), b.shape(), limit)?;
    Some((a.broadcast(IxDyn(&dims))?, b.broadcast(IxDyn(&dims))?))
}

/// Maps the pairs of elements of two broadcast arrays; `None` if `f` fails for one.
pub(crate) fn zipped<A, B, T>(
    a: &ArrayD<A>,
    b: &ArrayD<B>,
    limit: usize,
    f: impl Fn(&A, &B) -> Option<T>,
) -> Option<ArrayD<T>> {
    let (a, b) = broadcast_pair(a, b, limit)?;
    let dims = a.raw_dim();
    let list: Vec<T> = a
        .iter()
        .zip(b.iter())
        .map(|(a, b)| f(a, b))
        .collect::<Option<_>>()?;
    ArrayD::from_shape_vec(dims, list).ok()
}

/// Chooses each element from `a` where the condition holds, else from `b`; all three are
/// broadcast.
pub(crate) fn chosen<T: Clone>(
    condition: &ArrayD<bool>,
    a: &ArrayD<T>,
    b: &ArrayD<T>,
    limit: usize,
) -> Option<ArrayD<T>> {
    let both = common(a.shape(), b.shape(), limit)?;
    let dims = IxDyn(&common(condition.shape(), &both, limit)?);
    let (c, a, b) = (
        condition.broadcast(dims.clone())?,
        a.broadcast(dims.clone())?,
        b.broadcast(dims)?,
    );
    let pick = |&c: &bool, a: &T, b: &T| if c { a } else { b }.clone();
    Some(Zip::from(&c).and(&a).and(&b).map_collect(pick))
}
