//! Constant tensors: initialisers and the values of Constant nodes.

mod crop;
mod half;
mod stored;

use std::borrow::Cow;
use std::sync::Arc;

use crate::GraphError;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// 64-bit IEEE float.
    F64,
    /// 16-bit IEEE float.
    F16,
    /// The upper half of a 32-bit IEEE float.
    BF16,
    /// Signed 64-bit integer, the type of shapes and axes.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned byte.
    U8,
    /// Signed byte.
    I8,
    /// Unsigned integer of four bits.
    U4,
    /// Signed integer of four bits.
    I4,
    /// Boolean, one byte each.
    Bool,
}

impl DType {
    /// Whether elements are floats, of any width.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64 | Self::F16 | Self::BF16)
    }

    /// Returns the bits of an element.
    #[must_use]
    pub fn bits(self) -> usize {
        match self {
            Self::F64 | Self::I64 | Self::U64 => 64,
            Self::F32 | Self::I32 | Self::U32 => 32,
            Self::F16 | Self::BF16 | Self::I16 | Self::U16 => 16,
            Self::U8 | Self::I8 | Self::Bool => 8,
            Self::U4 | Self::I4 => 4,
        }
    }

    /// Returns the bytes of `count` elements in a file, unless they exceed what memory addresses.
    #[must_use]
    pub fn bytes(self, count: usize) -> Option<usize> {
        Some(count.checked_mul(self.bits())?.div_ceil(8))
    }
}

/// Elements of a tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Bits of 16-bit IEEE floats.
    F16(Vec<u16>),
    /// Upper halves of 32-bit IEEE floats.
    BF16(Vec<u16>),
    /// 64-bit integers.
    I64(Vec<i64>),
    /// 32-bit integers.
    I32(Vec<i32>),
    /// 16-bit integers.
    I16(Vec<i16>),
    /// Unsigned 64-bit integers.
    U64(Vec<u64>),
    /// Unsigned 32-bit integers.
    U32(Vec<u32>),
    /// Unsigned 16-bit integers.
    U16(Vec<u16>),
    /// Unsigned bytes.
    U8(Vec<u8>),
    /// Signed bytes.
    I8(Vec<i8>),
    /// Unsigned integers of four bits, one per byte.
    U4(Vec<u8>),
    /// Signed integers of four bits, one per byte.
    I4(Vec<i8>),
    /// Booleans.
    Bool(Vec<bool>),
}

/// A constant tensor. Clones share the elements. Invariant: the product of the dimensions equals
/// the number of elements.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    dims: Vec<usize>,
    data: Arc<TensorData>,
    /// The integers that a file holds for these floats.
    stored: Option<Arc<Stored>>,
}

/// The values of integers: `(integer - zero_point) * scale`, with one scale and zero point
/// for the tensor or one per index of an axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// One scale, or one per index of `axis`.
    pub scales: Vec<f32>,
    /// As many zero points.
    pub zero_points: Vec<i32>,
    /// The axis of the scales; `None` if one scale applies to the tensor.
    pub axis: Option<usize>,
}

/// The integers of a float tensor, and their scaling.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The integers, of the tensor's dimensions.
    pub integers: Tensor,
    /// Scales and zero points.
    pub scaling: Scaling,
}

macro_rules! each_data {
    ($data:expr, $v:ident => $body:expr) => {
        match $data {
            TensorData::F32($v) => $body,
            TensorData::F64($v) => $body,
            TensorData::F16($v) => $body,
            TensorData::BF16($v) => $body,
            TensorData::I64($v) => $body,
            TensorData::I32($v) => $body,
            TensorData::I16($v) => $body,
            TensorData::U64($v) => $body,
            TensorData::U32($v) => $body,
            TensorData::U16($v) => $body,
            TensorData::U8($v) => $body,
            TensorData::I8($v) => $body,
            TensorData::U4($v) => $body,
            TensorData::I4($v) => $body,
            TensorData::Bool($v) => $body,
        }
    };
}

impl Tensor {
    /// Creates a tensor of `dims` with `data` in row-major order.
    ///
    /// # Errors
    /// [`GraphError::TensorSize`] if the number of elements is not the product of `dims`.
    pub fn new(dims: Vec<usize>, data: TensorData) -> Result<Self, GraphError> {
        Self::sharing(dims, Arc::new(data))
    }

    fn sharing(dims: Vec<usize>, data: Arc<TensorData>) -> Result<Self, GraphError> {
        let expected = dims.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        // The product without empty axes must not overflow either: strides are parts of it.
        let largest_stride = dims
            .iter()
            .try_fold(1usize, |n, &d| n.checked_mul(d.max(1)));
        let held = each_data!(&*data, v => v.len());
        if expected != Some(held) || largest_stride.is_none() {
            return Err(GraphError::TensorSize { dims, held });
        }
        Ok(Self {
            dims,
            data,
            stored: None,
        })
    }

    /// Creates a float tensor.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn f32(dims: impl Into<Vec<usize>>, data: Vec<f32>) -> Result<Self, GraphError> {
        Self::new(dims.into(), TensorData::F32(data))
    }

    /// Creates a one-dimensional integer tensor, the form of shapes, axes and slice bounds.
    #[must_use]
    pub fn i64s(data: Vec<i64>) -> Self {
        Self {
            dims: vec![data.len()],
            data: Arc::new(TensorData::I64(data)),
            stored: None,
        }
    }

    /// Creates a float tensor without dimensions.
    #[must_use]
    pub fn scalar(value: f32) -> Self {
        Self {
            dims: Vec::new(),
            data: Arc::new(TensorData::F32(vec![value])),
            stored: None,
        }
    }

    /// Dimensions, outermost first.
    #[must_use]
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// The elements.
    #[must_use]
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        each_data!(&*self.data, v => v.len())
    }

    /// Whether the tensor has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type.
    #[must_use]
    pub fn dtype(&self) -> DType {
        match *self.data {
            TensorData::F32(_) => DType::F32,
            TensorData::F64(_) => DType::F64,
            TensorData::F16(_) => DType::F16,
            TensorData::BF16(_) => DType::BF16,
            TensorData::I64(_) => DType::I64,
            TensorData::I32(_) => DType::I32,
            TensorData::I16(_) => DType::I16,
            TensorData::U64(_) => DType::U64,
            TensorData::U32(_) => DType::U32,
            TensorData::U16(_) => DType::U16,
            TensorData::U8(_) => DType::U8,
            TensorData::I8(_) => DType::I8,
            TensorData::U4(_) => DType::U4,
            TensorData::I4(_) => DType::I4,
            TensorData::Bool(_) => DType::Bool,
        }
    }

    /// Returns the elements if they are [`TensorData::F32`].
    #[must_use]
    pub fn as_f32(&self) -> Option<&[f32]> {
        if let TensorData::F32(v) = &*self.data {
            Some(v)
        } else {
            None
        }
    }

    /// Returns floats of any width as 32-bit floats; `None` for integers. Those of 16 bits widen
    /// without loss.
    #[must_use]
    pub fn to_f32s(&self) -> Option<Cow<'_, [f32]>> {
        let widened = |v: &[u16], widen: fn(u16) -> f32| v.iter().map(|&x| widen(x)).collect();
        Some(match &*self.data {
            TensorData::F32(v) => Cow::Borrowed(v),
            TensorData::F64(v) => v.iter().map(|&x| x as f32).collect(),
            TensorData::F16(v) => widened(v, half::half),
            TensorData::BF16(v) => widened(v, half::bfloat),
            _ => return None,
        })
    }

    /// The nearest 16-bit floats; `None` unless these are floats of 32 bits within their range.
    pub(crate) fn to_halves(&self) -> Option<Self> {
        let each = |&value: &f32| {
            let narrow = half::narrow(value);
            let fits = half::half(narrow).is_finite() || !value.is_finite();
            fits.then_some(narrow)
        };
        let halves = self.as_f32()?.iter().map(each).collect::<Option<_>>()?;
        Self::new(self.dims.clone(), TensorData::F16(halves)).ok()
    }

    /// Returns the elements as 64-bit integers if they are integers of 64 or 32 bits.
    #[must_use]
    pub fn to_i64s(&self) -> Option<Vec<i64>> {
        match &*self.data {
            TensorData::I64(v) => Some(v.clone()),
            TensorData::I32(v) => Some(v.iter().map(|&x| i64::from(x)).collect()),
            _ => None,
        }
    }

    /// Returns the same elements under other dimensions.
    ///
    /// # Errors
    /// [`GraphError::TensorSize`] if the number of elements differs.
    pub fn reshaped(self, dims: Vec<usize>) -> Result<Self, GraphError> {
        let mut out = Self::sharing(dims, self.data)?;
        let stored = self.stored.and_then(|s| s.reshaped(&out.dims));
        out.stored = stored.map(Arc::new);
        Ok(out)
    }

    /// Permutes the axes: axis `i` of the result is axis `perm[i]` of this tensor.
    ///
    /// # Errors
    /// [`GraphError::Axis`] if `perm` is no permutation of the axes.
    pub fn permuted(&self, perm: &[usize]) -> Result<Self, GraphError> {
        let rank = self.dims.len();
        let mut sorted = perm.to_vec();
        sorted.sort_unstable();
        if let Some(axis) = (0..rank.max(perm.len())).find(|&i| sorted.get(i) != Some(&i)) {
            return Err(GraphError::Axis { axis, rank });
        }
        let mut strides = vec![1; rank];
        for i in (1..rank).rev() {
            strides[i - 1] = strides[i] * self.dims[i];
        }
        let dims: Vec<usize> = perm.iter().map(|&p| self.dims[p]).collect();
        let steps: Vec<usize> = perm.iter().map(|&p| strides[p]).collect();
        let mut order = Vec::with_capacity(self.len());
        let mut index = vec![0; rank];
        for _ in 0..self.len() {
            order.push(index.iter().zip(&steps).map(|(i, s)| i * s).sum::<usize>());
            for axis in (0..rank).rev() {
                index[axis] += 1;
                if index[axis] < dims[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        let flat = Self {
            dims: vec![self.len()],
            data: self.data.clone(),
            stored: None,
        };
        let mut out = flat.select(0, &order)?.reshaped(dims)?;
        if let Some(stored) = &self.stored {
            out.stored = Some(Arc::new(stored.permuted(perm)?));
        }
        Ok(out)
    }

    /// Whether both tensors have the same bits and are stored alike. Unlike with `==`, a NaN
    /// equals itself.
    #[must_use]
    pub fn same_bits(&self, other: &Self) -> bool {
        let equal = match (&*self.data, &*other.data) {
            (TensorData::F32(a), TensorData::F32(b)) => a
                .iter()
                .map(|x| x.to_bits())
                .eq(b.iter().map(|x| x.to_bits())),
            (TensorData::F64(a), TensorData::F64(b)) => a
                .iter()
                .map(|x| x.to_bits())
                .eq(b.iter().map(|x| x.to_bits())),
            (a, b) => a == b,
        };
        equal && self.dims == other.dims && self.stored == other.stored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permuting_twice_restores_the_axes() {
        let t = Tensor::f32([2, 3, 2], (0..12).map(|x| x as f32).collect()).unwrap();
        let p = t.permuted(&[2, 0, 1]).unwrap();
        assert_eq!(p.dims(), [2, 2, 3]);
        assert_eq!(p.as_f32().unwrap()[..6], [0., 2., 4., 6., 8., 10.]);
        assert_eq!(p.permuted(&[1, 2, 0]).unwrap(), t);
        assert!(t.permuted(&[0, 0, 1]).is_err());
    }

    #[test]
    fn dimensions_that_overflow_are_rejected() {
        assert!(Tensor::f32([usize::MAX, 2], vec![]).is_err());
    }
}
