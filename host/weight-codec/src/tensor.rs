//! Weight tensors, as floating-point values and as integers with scales.

use crate::CodecError;

/// A weight tensor.
#[derive(Clone, Copy, Debug)]
pub struct Tensor<'a> {
    /// Name, for errors.
    pub name: &'a str,
    /// Values in row-major order.
    pub values: &'a [f32],
    /// Dimensions; their product is the number of values.
    pub dims: &'a [usize],
    /// Axis of the output channels: 0 for a convolution's `[out, in, height, width]` and for a
    /// matrix `[out, in]`, 1 for a matrix `[in, out]`.
    pub channel_axis: usize,
}

impl Tensor<'_> {
    /// Returns the tensor's layout.
    ///
    /// # Errors
    /// [`CodecError::Tensor`] if it is empty, its values are not finite or not as many as its
    /// dimensions say, or the axis does not exist.
    pub(crate) fn layout(&self) -> Result<Layout, CodecError> {
        let layout = Layout::of(self.dims, self.channel_axis)
            .map_err(|reason| CodecError::tensor(self.name, reason))?;
        if layout.len() != self.values.len() {
            let (dims, count) = (self.dims, self.values.len());
            let reason = format!("{count} values do not have the dimensions {dims:?}");
            return Err(CodecError::tensor(self.name, reason));
        }
        if let Some(at) = self.values.iter().position(|value| !value.is_finite()) {
            let reason = format!("value {at} is {}", self.values[at]);
            return Err(CodecError::tensor(self.name, reason));
        }
        Ok(layout)
    }
}

/// Row-major order around one axis: `[outer, channels, inner]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub outer: usize,
    pub channels: usize,
    pub inner: usize,
}

impl Layout {
    /// Returns the layout, or the fault of the dimensions.
    pub fn of(dims: &[usize], axis: usize) -> Result<Self, String> {
        let Some(&channels) = dims.get(axis) else {
            return Err(format!("the dimensions {dims:?} have no axis {axis}"));
        };
        let product = |dims: &[usize]| dims.iter().try_fold(1_usize, |a, b| a.checked_mul(*b));
        match product(dims) {
            None | Some(0) => Err(format!("the dimensions {dims:?} are empty or too large")),
            Some(_) => Ok(Self {
                outer: dims[..axis].iter().product(),
                channels,
                inner: dims[axis + 1..].iter().product(),
            }),
        }
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.outer * self.channels * self.inner
    }

    /// Number of values of one channel.
    pub fn row_len(&self) -> usize {
        self.outer * self.inner
    }

    /// Channel of the value at an index.
    pub fn channel(&self, index: usize) -> usize {
        index / self.inner % self.channels
    }

    /// Indices of one channel's values, in ascending order.
    pub fn row(&self, channel: usize) -> impl Iterator<Item = usize> {
        let Self {
            outer,
            channels,
            inner,
        } = *self;
        (0..outer).flat_map(move |block| {
            let start = (block * channels + channel) * inner;
            start..start + inner
        })
    }
}

/// Number of bits per weight, 2 to 8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bits(u8);

impl Bits {
    /// The fewest, 2: the integers -1, 0 and 1.
    pub const MIN: Self = Self(2);
    /// The most, 8.
    pub const MAX: Self = Self(8);

    /// Checks a number of bits.
    ///
    /// # Errors
    /// [`CodecError::InvalidOption`] outside of 2 to 8.
    pub fn new(bits: u8) -> Result<Self, CodecError> {
        if (Self::MIN.0..=Self::MAX.0).contains(&bits) {
            Ok(Self(bits))
        } else {
            Err(CodecError::InvalidOption {
                option: "bits",
                reason: format!("must be 2 to 8, not {bits}"),
            })
        }
    }

    /// All numbers of bits, ascending.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> {
        (Self::MIN.0..=Self::MAX.0).map(Self)
    }

    /// The number.
    pub fn get(self) -> u8 {
        self.0
    }

    /// The largest integer, `2^(bits - 1) - 1`. The smallest is its negative.
    pub fn largest(self) -> i8 {
        ((1_u16 << (self.0 - 1)) - 1) as i8
    }
}

/// A quantised weight tensor: an integer per weight and a scale per output channel. Its values
/// are the products `integer as f32 * scale`, rounded to f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantized {
    bits: Bits,
    layout: Layout,
    integers: Vec<i8>,
    scales: Vec<f32>,
}

impl Quantized {
    /// Checks integers and scales for the shape of `tensor`; its values are not used.
    ///
    /// # Errors
    /// [`CodecError::Tensor`] if the integers or scales are too few or too many, an integer has
    /// more bits, or a scale is negative or gives values that are not finite.
    pub fn new(
        tensor: &Tensor,
        bits: Bits,
        integers: Vec<i8>,
        scales: Vec<f32>,
    ) -> Result<Self, CodecError> {
        let refuse = |reason: String| Err(CodecError::tensor(tensor.name, reason));
        let layout = match Layout::of(tensor.dims, tensor.channel_axis) {
            Ok(layout) => layout,
            Err(reason) => return refuse(reason),
        };
        if integers.len() != layout.len() || scales.len() != layout.channels {
            let (dims, count, channels) = (tensor.dims, integers.len(), scales.len());
            return refuse(format!(
                "{count} integers and {channels} scales do not fit the dimensions {dims:?}"
            ));
        }
        let largest = bits.largest();
        if let Some(q) = integers.iter().find(|q| q.unsigned_abs() > largest as u8) {
            return refuse(format!("the integer {q} has more than {} bits", bits.get()));
        }
        let usable = |scale: f32| scale >= 0.0 && (f32::from(largest) * scale).is_finite();
        if let Some(scale) = scales.iter().find(|scale| !usable(**scale)) {
            return refuse(format!("the scale {scale} is unusable"));
        }
        Ok(Self {
            bits,
            layout,
            integers,
            scales,
        })
    }

    /// Number of bits of the integers.
    pub fn bits(&self) -> Bits {
        self.bits
    }

    /// Integers in the order of the tensor's values.
    pub fn integers(&self) -> &[i8] {
        &self.integers
    }

    /// Scales, one per output channel.
    pub fn scales(&self) -> &[f32] {
        &self.scales
    }

    /// The values that the decoder restores, bit by bit.
    pub fn values(&self) -> Vec<f32> {
        let value = |(index, integer): (usize, &i8)| {
            restored(*integer, self.scales[self.layout.channel(index)])
        };
        self.integers.iter().enumerate().map(value).collect()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }
}

/// The value of an integer. Packing and unpacking must agree in every bit, so this product in
/// f32, which IEEE 754 defines exactly, is the only place that computes it.
pub(crate) fn restored(integer: i8, scale: f32) -> f32 {
    f32::from(integer) * scale
}
