//! What the values of a network become.

use int8_engine::{Element, Tensor};
use onnx_graph::DType;
use onnx_graph::ops::Quantization;

/// Scale and zero point of bytes with a sign.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantity {
    /// Distance of two neighbouring values.
    pub scale: f32,
    /// The integer whose value is 0.
    pub zero_point: i8,
}

impl Quantity {
    /// The form with a sign: integers without one are moved by 128. `None` for integers of fewer
    /// bits.
    pub(crate) fn of(quantization: &Quantization) -> Option<Self> {
        let moved = match quantization.dtype {
            DType::U8 => quantization.zero_point - 128,
            DType::I8 => quantization.zero_point,
            _ => return None,
        };
        Some(Self {
            scale: quantization.scale,
            zero_point: i8::try_from(moved).ok()?,
        })
    }

    /// The integer nearest to a value, of two the even one, as QuantizeLinear rounds.
    #[must_use]
    pub fn round(&self, value: f32) -> i8 {
        let steps = (value / self.scale).round_ties_even();
        // A float is converted to the nearest integer in range, NaN to 0.
        (steps + f32::from(self.zero_point)).clamp(-128.0, 127.0) as i8
    }

    /// The value of an integer.
    #[must_use]
    pub fn value(&self, integer: i8) -> f32 {
        f32::from(i16::from(integer) - i16::from(self.zero_point)) * self.scale
    }
}

/// Integers in the arena.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Integers {
    /// Their shape; the offset is the number of their buffer.
    pub tensor: Tensor,
    /// Their scale.
    pub scale: f32,
}

impl Integers {
    pub fn quantity(&self) -> Quantity {
        Quantity {
            scale: self.scale,
            zero_point: self.tensor.zero_point,
        }
    }

    /// Height, width, channels.
    pub fn dims(&self) -> [usize; 3] {
        self.tensor.dims()
    }
}

/// The shape of an image in the arena, of a value's dimensions: batch, channels, height, width, or
/// batch and channels.
pub(crate) fn image(dims: &[usize]) -> Result<[u16; 3], String> {
    let [height, width, channels] = match *dims {
        [1, channels] => [1, 1, channels],
        [1, channels, height, width] => [height, width, channels],
        _ => {
            return Err(format!(
                "its dimensions are {dims:?}; one image or one row is taken"
            ));
        }
    };
    let size = |n: usize| {
        let fits = u16::try_from(n).ok().filter(|&n| n > 0);
        fits.ok_or_else(|| format!("its dimensions are {dims:?}; sizes from 1 to 65535 are taken"))
    };
    Ok([size(height)?, size(width)?, size(channels)?])
}

/// A tensor of `dims` that is yet to be placed.
pub(crate) fn tensor([height, width, channels]: [u16; 3], buffer: u32, zero_point: i8) -> Tensor {
    Tensor {
        offset: buffer,
        height,
        width,
        channels,
        zero_point,
        element: Element::I8,
    }
}
