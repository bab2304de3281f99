//! Selecting indices along several axes in one pass, without intermediate copies.

use std::sync::Arc;

use super::{Tensor, TensorData};
use crate::GraphError;

/// An axis along which some indices are kept.
struct Level<'k> {
    keep: &'k [usize],
    /// Elements per index.
    inner: usize,
    /// Elements of all indices.
    whole: usize,
}

impl Tensor {
    /// Keeps the listed indices along `axis`, in the given order; an index may repeat.
    ///
    /// # Errors
    /// [`GraphError::Axis`] or [`GraphError::Index`] if `axis` or an index is out of range.
    pub fn select(&self, axis: usize, keep: &[usize]) -> Result<Self, GraphError> {
        self.crop([(axis, keep)])
    }

    /// Keeps the listed indices along each of several axes, as [`Tensor::select`] does along one.
    /// For an axis that is given twice, the last list counts.
    ///
    /// # Errors
    /// As [`Tensor::select`].
    pub fn crop<'k>(
        &self,
        axes: impl IntoIterator<Item = (usize, &'k [usize])>,
    ) -> Result<Self, GraphError> {
        let rank = self.dims.len();
        let mut lists: Vec<Option<&[usize]>> = vec![None; rank];
        for (axis, keep) in axes {
            *lists.get_mut(axis).ok_or(GraphError::Axis { axis, rank })? = Some(keep);
        }
        let mut dims = self.dims.clone();
        let mut levels = Vec::new();
        for (axis, keep) in lists.iter().enumerate() {
            let Some(keep) = *keep else { continue };
            let size = self.dims[axis];
            if let Some(&index) = keep.iter().find(|&&k| k >= size) {
                return Err(GraphError::Index { index, size });
            }
            let inner = self.dims[axis + 1..].iter().product();
            let whole = size * inner;
            levels.push(Level { keep, inner, whole });
            dims[axis] = keep.len();
        }
        let len = dims.iter().product();
        let data = match &*self.data {
            TensorData::F32(v) => TensorData::F32(picked(v, &levels, len)),
            TensorData::F64(v) => TensorData::F64(picked(v, &levels, len)),
            TensorData::I64(v) => TensorData::I64(picked(v, &levels, len)),
            TensorData::F16(v) => TensorData::F16(picked(v, &levels, len)),
            TensorData::BF16(v) => TensorData::BF16(picked(v, &levels, len)),
            TensorData::I32(v) => TensorData::I32(picked(v, &levels, len)),
            TensorData::I16(v) => TensorData::I16(picked(v, &levels, len)),
            TensorData::U64(v) => TensorData::U64(picked(v, &levels, len)),
            TensorData::U32(v) => TensorData::U32(picked(v, &levels, len)),
            TensorData::U16(v) => TensorData::U16(picked(v, &levels, len)),
            TensorData::U8(v) => TensorData::U8(picked(v, &levels, len)),
            TensorData::I8(v) => TensorData::I8(picked(v, &levels, len)),
            TensorData::U4(v) => TensorData::U4(picked(v, &levels, len)),
            TensorData::I4(v) => TensorData::I4(picked(v, &levels, len)),
            TensorData::Bool(v) => TensorData::Bool(picked(v, &levels, len)),
        };
        let mut out = Self::new(dims, data)?;
        if let Some(stored) = &self.stored {
            out.stored = Some(Arc::new(stored.crop(&lists)?));
        }
        Ok(out)
    }
}

/// The `len` elements that every level keeps; the outermost level comes first.
fn picked<T: Copy>(from: &[T], levels: &[Level<'_>], len: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(len);
    // An empty axis would give chunks of size 0.
    if len > 0 {
        pick(from, levels, &mut out);
    }
    out
}

fn pick<T: Copy>(from: &[T], levels: &[Level<'_>], out: &mut Vec<T>) {
    let Some((level, deeper)) = levels.split_first() else {
        return out.extend_from_slice(from);
    };
    let Level { keep, inner, whole } = *level;
    for block in from.chunks_exact(whole) {
        match (deeper, inner) {
            ([], 1) => out.extend(keep.iter().map(|&k| block[k])),
            // Most kernels are 3x3, and a copy of constant size compiles to moves.
            ([], 9) => {
                let (kernels, _) = block.as_chunks::<9>();
                keep.iter()
                    .for_each(|&k| out.extend_from_slice(&kernels[k]));
            }
            _ => {
                for &k in keep {
                    pick(&block[k * inner..][..inner], deeper, out);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(dims: &[usize]) -> Tensor {
        let len = dims.iter().product::<usize>();
        Tensor::f32(dims, (0..len).map(|x| x as f32).collect()).unwrap()
    }

    #[test]
    fn select_keeps_the_listed_rows_of_the_axis_in_order() {
        let t = counting(&[2, 3, 2]);
        let s = t.select(1, &[2, 0]).unwrap();
        assert_eq!(s.dims(), [2, 2, 2]);
        assert_eq!(s.as_f32().unwrap(), [4., 5., 0., 1., 10., 11., 6., 7.]);
        assert!(matches!(
            t.select(1, &[3]),
            Err(GraphError::Index { index: 3, size: 3 })
        ));
        assert!(matches!(
            t.select(3, &[0]),
            Err(GraphError::Axis { axis: 3, rank: 3 })
        ));
    }

    #[test]
    fn cropping_several_axes_equals_selecting_along_each() {
        type Axes<'a> = &'a [(usize, &'a [usize])];
        let cases: [(&[usize], Axes<'_>); 8] = [
            (&[4, 3, 3, 3], &[(0, &[1, 3]), (1, &[2, 0, 0])]),
            (&[4, 3, 1, 1], &[(0, &[1, 3]), (1, &[2, 0])]),
            (&[4, 3, 2, 2], &[(1, &[2, 0]), (0, &[3])]),
            (&[2, 5, 3, 4], &[(1, &[4, 1]), (3, &[0, 3])]),
            (&[2, 3], &[(0, &[]), (1, &[1])]),
            (&[2, 0, 3], &[(2, &[1])]),
            (&[5], &[(0, &[4, 0])]),
            (&[2, 3], &[]),
        ];
        for (dims, axes) in cases {
            let t = counting(dims);
            let mut expected = t.clone();
            for (axis, keep) in axes {
                expected = expected.select(*axis, keep).unwrap();
            }
            let got = t.crop(axes.iter().copied()).unwrap();
            assert_eq!(got, expected, "{axes:?} of {dims:?}");
        }
    }
}
