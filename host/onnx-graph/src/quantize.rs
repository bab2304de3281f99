//! Quantised networks: a float network with
//! [QuantizeLinear](https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html) and
//! [DequantizeLinear](https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html) around the
//! operators that a runtime then computes in integers, in the form that
//! [ONNX Runtime](https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html)
//! fuses.
//!
//! Deliberately absent: the observation of activations and the choice of what to quantise, which
//! are up to the caller.

mod build;
mod regions;
mod role;
mod weights;

use std::collections::{BTreeMap, BTreeSet};

pub use build::quantize;
pub use regions::regions;
pub use role::{Role, role};
pub use weights::store_layers;

use crate::DType;
use crate::ops::Quantization;
use crate::value::{NodeId, ValueId};

/// How a network is quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Scheme {
    /// Whether activations are signed (`i8`) or unsigned (`u8`) integers.
    pub signed: bool,
    /// Whether weights have a scale per output channel, or one per tensor.
    pub per_channel: bool,
    /// Bits of the weights, 2 to 8, stored as `i8`. Processors that add two products of 8-bit
    /// integers in 16 bits need 7, or sums are cut off
    /// (`reduce_range` of ONNX Runtime's quantiser).
    pub weight_bits: u8,
    /// Whether only layers with weights are quantised. Otherwise, so are the operators between
    /// them.
    pub layers_only: bool,
}

impl Default for Scheme {
    /// Unsigned activations, 8-bit weights with a scale per output channel, in all operators.
    fn default() -> Self {
        Self {
            signed: false,
            per_channel: true,
            weight_bits: 8,
            layers_only: false,
        }
    }
}

impl Scheme {
    /// The greatest magnitude of symmetric weights: the least integer has no positive
    /// counterpart.
    pub(crate) fn most(&self) -> f32 {
        let bits = u32::from(self.weight_bits.clamp(2, 8));
        ((1 << (bits - 1)) - 1) as f32
    }

    /// The integers for activations between `low` and `high`; 0 is always exact.
    #[must_use]
    pub fn activation(&self, (low, high): (f32, f32)) -> Quantization {
        let (low, high) = (low.min(0.0), high.max(0.0));
        let width = (f64::from(high) - f64::from(low)) / 255.0;
        let scale = if width > 0.0 { width as f32 } else { 1.0 };
        let first = if self.signed { -128 } else { 0 };
        let steps = (-f64::from(low) / f64::from(scale)).round().min(255.0) as i32;
        Quantization {
            scale,
            zero_point: first + steps,
            dtype: if self.signed { DType::I8 } else { DType::U8 },
        }
    }
}

/// What to quantise, and to which integers.
#[derive(Debug, Clone, Default)]
pub struct Quantize {
    /// The forms of integers.
    pub scheme: Scheme,
    /// Least and greatest value of activations, by their value. An operator with an activation
    /// that is not listed stays in floats.
    pub ranges: BTreeMap<ValueId, (f32, f32)>,
    /// Operators that stay in floats.
    pub float: BTreeSet<NodeId>,
    /// Bits of the weights of single layers, in place of the scheme's.
    pub bits: BTreeMap<NodeId, u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_exact_and_the_range_is_covered() {
        for (range, zero_point) in [
            ((0.0, 2.55), 0),
            ((-1.0, 1.55), 100),
            ((0.5, 2.55), 0),
            ((-2.55, -1.0), 255),
            ((0.0, 0.0), 0),
        ] {
            let of = |signed| {
                Scheme {
                    signed,
                    ..Scheme::default()
                }
                .activation(range)
            };
            assert_eq!(of(false).zero_point, zero_point, "{range:?}");
            assert_eq!(of(true).zero_point, zero_point - 128, "{range:?}");
            let (low, high) = of(false).range();
            let half = of(false).scale * 0.51;
            assert!(
                low <= range.0 + half && high >= range.1 - half,
                "{low} {high} for {range:?}"
            );
        }
    }
}
