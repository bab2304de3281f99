//! Quantisers: weights to integers with one scale per output channel.

mod gptq;
mod matrix;
mod scale;

pub use gptq::{Gptq, GptqConfig, Hessian};

use crate::{Bits, CodecError, Quantized, Tensor};
use scale::{best_scale, nearest};

/// A way to quantise one weight tensor: symmetric, with a scale per output channel.
///
/// Scales have 8 significant bits, so that they take half of the bytes. The integers are chosen
/// for the rounded scale, which makes the rounding free of cost.
pub trait Quantizer {
    /// Quantises a tensor.
    ///
    /// # Errors
    /// [`CodecError::Tensor`] for an empty tensor or one whose values are not finite.
    fn quantize(&self, tensor: &Tensor, bits: Bits) -> Result<Quantized, CodecError>;

    /// Returns the error of a quantised form, in the measure that [`Self::quantize`] lowers. It is
    /// a sum over all weights.
    ///
    /// # Errors
    /// [`CodecError::Tensor`] if it does not have the tensor's shape.
    fn error(&self, tensor: &Tensor, quantized: &Quantized) -> Result<f64, CodecError>;
}

/// Rounding to the nearest integer, with the scale of the least squared error. The error is the
/// sum of the squared differences of the weights.
///
/// ```
/// use weight_codec::{Bits, Nearest, Quantizer, Tensor};
///
/// let tensor = Tensor {
///     name: "fc.weight",
///     values: &[0.5, -1.0, 0.0, 3.0, 1.0, -2.0],
///     dims: &[2, 3],
///     channel_axis: 0,
/// };
/// let quantized = Nearest.quantize(&tensor, Bits::new(3)?)?;
/// assert_eq!(quantized.scales().len(), 2);
/// assert_eq!(quantized.integers()[3..], [3, 1, -2]);
/// assert_eq!(quantized.values()[3..], [3.0, 1.0, -2.0]);
/// # Ok::<(), weight_codec::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Nearest;

impl Quantizer for Nearest {
    fn quantize(&self, tensor: &Tensor, bits: Bits) -> Result<Quantized, CodecError> {
        let layout = tensor.layout()?;
        let mut integers = vec![0; layout.len()];
        let mut scales = Vec::with_capacity(layout.channels);
        for channel in 0..layout.channels {
            let row = layout.row(channel).map(|index| tensor.values[index]);
            let scale = best_scale(&row.collect::<Vec<_>>(), bits);
            for index in layout.row(channel) {
                integers[index] = nearest(f64::from(tensor.values[index]), scale, bits);
            }
            scales.push(scale);
        }
        Quantized::new(tensor, bits, integers, scales)
    }

    fn error(&self, tensor: &Tensor, quantized: &Quantized) -> Result<f64, CodecError> {
        let differences = differences(tensor, quantized)?;
        Ok(differences.iter().map(|by| by * by).sum())
    }
}

/// Returns the tensor's values minus the quantised ones.
///
/// # Errors
/// [`CodecError::Tensor`] if the shapes differ.
fn differences(tensor: &Tensor, quantized: &Quantized) -> Result<Vec<f64>, CodecError> {
    if tensor.layout()? != quantized.layout() {
        let reason = "the quantised tensor has another shape";
        return Err(CodecError::tensor(tensor.name, reason));
    }
    let values = tensor.values.iter().zip(quantized.values());
    Ok(values
        .map(|(value, restored)| f64::from(*value) - f64::from(restored))
        .collect())
}
