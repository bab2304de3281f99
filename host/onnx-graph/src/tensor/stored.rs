//! Floats that a file stores as integers: the constant operands of
//! [DequantizeLinear](https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html).

use std::sync::Arc;

use super::{DType, Scaling, Stored, Tensor, TensorData};
use crate::GraphError;

impl Scaling {
    /// Scales per index of `axis`, with zero points of 0.
    #[must_use]
    pub fn symmetric(scales: Vec<f32>, axis: Option<usize>) -> Self {
        let zero_points = vec![0; scales.len()];
        Self {
            scales,
            zero_points,
            axis,
        }
    }

    /// Whether the scaling applies to integers of `dtype` in a tensor of `dims`.
    fn fits(&self, dims: &[usize], dtype: DType) -> bool {
        let count = match self.axis {
            None => Some(1),
            Some(axis) => dims.get(axis).copied(),
        };
        let sound = self.scales.iter().all(|s| s.is_finite() && *s > 0.0);
        let within = |(low, high): (f64, f64)| {
            let mut points = self.zero_points.iter().map(|&z| f64::from(z));
            points.all(|z| low <= z && z <= high)
        };
        sound
            && range(dtype).is_some_and(within)
            && count == Some(self.scales.len())
            && self.zero_points.len() == self.scales.len()
    }

    /// The first operator set whose DequantizeLinear applies it to integers of `dtype`.
    pub(crate) fn since(&self, dtype: DType) -> i64 {
        match (dtype, self.axis) {
            (DType::I4 | DType::U4, _) => 21,
            (_, Some(_)) => 13,
            (_, None) => 10,
        }
    }

    fn crop(&self, keep: &[usize]) -> Self {
        Self {
            scales: keep.iter().map(|&k| self.scales[k]).collect(),
            zero_points: keep.iter().map(|&k| self.zero_points[k]).collect(),
            axis: self.axis,
        }
    }
}

/// The integers that a type holds, if it is an integer type of at most 32 bits.
fn range(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::I4 => (-8.0, 7.0),
        DType::U4 => (0.0, 15.0),
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I32 => (f64::from(i32::MIN), f64::from(i32::MAX)),
        _ => return None,
    })
}

impl Tensor {
    /// Returns the elements if they are integers of at most 32 bits.
    #[must_use]
    pub fn to_i32s(&self) -> Option<Vec<i32>> {
        Some(match self.data() {
            TensorData::I4(v) | TensorData::I8(v) => v.iter().map(|&x| i32::from(x)).collect(),
            TensorData::U4(v) | TensorData::U8(v) => v.iter().map(|&x| i32::from(x)).collect(),
            TensorData::I32(v) => v.clone(),
            _ => return None,
        })
    }

    /// Floats that are stored as `integers`. A file that contains them stores the integers.
    ///
    /// # Errors
    /// [`GraphError::Scaling`] unless `integers` are of at most 32 bits and the scaling fits their
    /// dimensions and type, with finite positive scales.
    pub fn dequantized(integers: Self, scaling: Scaling) -> Result<Self, GraphError> {
        let unfit = || GraphError::Scaling {
            dims: integers.dims.clone(),
            scales: scaling.scales.len(),
        };
        let values = integers.to_i32s().ok_or_else(unfit)?;
        if !scaling.fits(&integers.dims, integers.dtype()) {
            return Err(unfit());
        }
        let (count, inner) = steps(&integers.dims, scaling.axis);
        let at = |i: usize| if count == 1 { 0 } else { i / inner % count };
        let floats = values.iter().enumerate();
        // The difference of 32-bit integers may not fit in one.
        let floats = floats.map(|(i, &v)| {
            (i64::from(v) - i64::from(scaling.zero_points[at(i)])) as f32 * scaling.scales[at(i)]
        });
        let mut tensor = Self::new(integers.dims.clone(), TensorData::F32(floats.collect()))?;
        tensor.stored = Some(Arc::new(Stored { integers, scaling }));
        Ok(tensor)
    }

    /// Rounds floats to the nearest integers of `dtype` and returns their values, which are
    /// stored as the integers.
    ///
    /// # Example
    /// ```
    /// use onnx_graph::{DType, Scaling, Tensor};
    ///
    /// # fn main() -> Result<(), onnx_graph::GraphError> {
    /// let weights = Tensor::f32([2, 2], vec![1.0, -0.26, 20.0, 3.0])?;
    /// // One scale per row.
    /// let scaling = Scaling::symmetric(vec![0.01, 0.2], Some(0));
    /// let rounded = weights.quantized(DType::I8, scaling)?;
    /// assert_eq!(rounded.as_f32().unwrap(), [1.0, -0.26, 20.0, 3.0]);
    /// let stored = rounded.stored().unwrap();
    /// assert_eq!(stored.integers.dtype(), DType::I8);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Tensor::dequantized`]; also if the tensor holds no 32-bit floats.
    pub fn quantized(&self, dtype: DType, scaling: Scaling) -> Result<Self, GraphError> {
        let unfit = || GraphError::Scaling {
            dims: self.dims.clone(),
            scales: scaling.scales.len(),
        };
        let (low, high) = range(dtype).ok_or_else(unfit)?;
        let values = self.as_f32().ok_or_else(unfit)?;
        if !scaling.fits(&self.dims, dtype) {
            return Err(unfit());
        }
        let (count, inner) = steps(&self.dims, scaling.axis);
        let integer = |(i, &v): (usize, &f32)| {
            let at = if count == 1 { 0 } else { i / inner % count };
            let steps = (f64::from(v) / f64::from(scaling.scales[at])).round_ties_even();
            (steps + f64::from(scaling.zero_points[at])).clamp(low, high) as i32
        };
        let integers = values.iter().enumerate().map(integer).collect();
        let integers = Self::new(self.dims.clone(), typed(dtype, integers))?;
        Self::dequantized(integers, scaling)
    }

    /// A tensor of the element type of this one with other integers, which are in its range.
    pub(crate) fn with_integers(&self, dims: &[usize], integers: &[i32]) -> Option<Self> {
        Self::new(dims.to_vec(), typed(self.dtype(), integers.to_vec())).ok()
    }

    /// The integers that a file stores for these floats, if it does.
    #[must_use]
    pub fn stored(&self) -> Option<&Stored> {
        self.stored.as_deref()
    }

    /// Returns the floats without the integers that they are stored as.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self {
            dims: self.dims.clone(),
            data: self.data.clone(),
            stored: None,
        }
    }
}

/// Integers in the representation of their type.
fn typed(dtype: DType, integers: Vec<i32>) -> TensorData {
    let signed = || integers.iter().map(|&v| v as i8).collect();
    let unsigned = || integers.iter().map(|&v| v as u8).collect();
    match dtype {
        DType::I4 => TensorData::I4(signed()),
        DType::I8 => TensorData::I8(signed()),
        DType::U4 => TensorData::U4(unsigned()),
        DType::U8 => TensorData::U8(unsigned()),
        _ => TensorData::I32(integers),
    }
}

/// The number of scales, and the elements per index of their axis.
fn steps(dims: &[usize], axis: Option<usize>) -> (usize, usize) {
    match axis {
        None => (1, 1),
        Some(axis) => (
            dims[axis],
            dims[axis + 1..].iter().product::<usize>().max(1),
        ),
    }
}

impl Stored {
    /// The stored form of what [`Tensor::crop`] keeps.
    pub(super) fn crop(&self, lists: &[Option<&[usize]>]) -> Result<Self, GraphError> {
        let axes = lists.iter().enumerate();
        let axes = axes.filter_map(|(axis, keep)| Some((axis, (*keep)?)));
        let scaling = match self.scaling.axis.and_then(|axis| lists[axis]) {
            Some(keep) => self.scaling.crop(keep),
            None => self.scaling.clone(),
        };
        Ok(Self {
            integers: self.integers.crop(axes)?,
            scaling,
        })
    }

    /// The stored form under other dimensions; `None` if no axis has the scales.
    pub(super) fn reshaped(&self, dims: &[usize]) -> Option<Self> {
        let old = &self.integers.dims;
        let axis = match self.scaling.axis {
            None => None,
            Some(axis) => {
                let outer: usize = old[..axis].iter().product();
                let is_it = |&new: &usize| {
                    dims[new] == old[axis] && dims[..new].iter().product::<usize>() == outer
                };
                Some((0..dims.len()).find(is_it)?)
            }
        };
        let scaling = Scaling {
            axis,
            ..self.scaling.clone()
        };
        let integers = self.integers.clone().reshaped(dims.to_vec()).ok()?;
        Some(Self { integers, scaling })
    }

    /// The stored form with permuted axes.
    pub(super) fn permuted(&self, perm: &[usize]) -> Result<Self, GraphError> {
        let moved = |axis| perm.iter().position(|&p| p == axis);
        Ok(Self {
            integers: self.integers.permuted(perm)?,
            scaling: Scaling {
                axis: self.scaling.axis.and_then(moved),
                ..self.scaling.clone()
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights() -> Tensor {
        let integers = Tensor::new(vec![2, 3], TensorData::I8(vec![1, -2, 3, -128, 127, 0]));
        let scaling = Scaling::symmetric(vec![0.5, 0.25], Some(0));
        Tensor::dequantized(integers.unwrap(), scaling).unwrap()
    }

    fn integers(of: &Tensor) -> Vec<i32> {
        let stored = of.stored().expect("it is stored as integers");
        stored.integers.to_i32s().unwrap()
    }

    #[test]
    fn floats_are_the_scaled_distance_from_the_zero_point() {
        assert_eq!(
            weights().as_f32().unwrap(),
            [0.5, -1.0, 1.5, -32.0, 31.75, 0.0]
        );
        let one = Tensor::new(vec![3], TensorData::U8(vec![0, 128, 255])).unwrap();
        let scaling = Scaling {
            scales: vec![2.0],
            zero_points: vec![128],
            axis: None,
        };
        let one = Tensor::dequantized(one, scaling).unwrap();
        assert_eq!(one.as_f32().unwrap(), [-256.0, 0.0, 254.0]);
    }

    #[test]
    fn a_crop_keeps_the_integers_and_scales_of_what_is_left() {
        let crop = weights().crop([(0, &[1][..]), (1, &[2, 0][..])]).unwrap();
        assert_eq!(crop.as_f32().unwrap(), [0.0, -32.0]);
        assert_eq!(integers(&crop), [0, -128]);
        assert_eq!(crop.stored().unwrap().scaling.scales, [0.25]);
    }

    #[test]
    fn other_layouts_keep_the_integers() {
        let t = weights().permuted(&[1, 0]).unwrap();
        assert_eq!(integers(&t), [1, -128, -2, 127, 3, 0]);
        assert_eq!(t.stored().unwrap().scaling.axis, Some(1));
        let r = weights().reshaped(vec![2, 1, 3]).unwrap();
        assert_eq!(r.stored().unwrap().scaling.axis, Some(0));
        let r = weights().reshaped(vec![3, 2]).unwrap();
        assert_eq!(r.stored(), None, "no axis has the two scales");
    }

    #[test]
    fn rounding_is_to_the_nearest_integer_and_ties_to_even() {
        let t = Tensor::f32([5], vec![0.5, 1.5, -0.5, 300.0, -1.2]).unwrap();
        let t = t.quantized(DType::I8, Scaling::symmetric(vec![1.0], None));
        assert_eq!(integers(&t.unwrap()), [0, 2, 0, 127, -1]);
    }

    #[test]
    fn unsound_scales_are_refused() {
        let t = Tensor::f32([2], vec![1.0, 2.0]).unwrap();
        for scales in [vec![0.0], vec![f32::NAN], vec![-1.0], vec![1.0; 3]] {
            let scaling = Scaling::symmetric(scales, None);
            assert!(t.quantized(DType::I8, scaling).is_err());
        }
        let far = Scaling::symmetric(vec![1.0; 2], Some(1));
        assert!(t.quantized(DType::I8, far).is_err());
        let wide = Scaling::symmetric(vec![1.0], None);
        assert!(t.quantized(DType::F32, wide).is_err());
    }
}
