//! [QuantizeLinear](https://onnx.ai/onnx/operators/onnx__QuantizeLinear.html) of activations, with
//! one constant scale and zero point for the tensor. Other forms stay opaque.

use super::context::{Emission, Facts, Input, Operator, Parsing, same};
use crate::value::Shape;
use crate::{DType, GraphError, Tensor, TensorData};

/// Operator set from which on integers of four bits are quantised to.
const FOUR_BITS: i64 = 21;

/// Scale, zero point and integer type of a quantised tensor: the value of an
/// integer `q` is `(q - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantization {
    /// Distance of two neighbouring values.
    pub scale: f32,
    /// The integer whose value is 0.
    pub zero_point: i32,
    /// The integer type, of at most eight bits.
    pub dtype: DType,
}

impl Quantization {
    /// Returns the least and the greatest integer of the type.
    #[must_use]
    pub fn integers(&self) -> (i32, i32) {
        match self.dtype {
            DType::I4 => (-8, 7),
            DType::U4 => (0, 15),
            DType::U8 => (0, 255),
            _ => (-128, 127),
        }
    }

    /// Returns the values of the least and the greatest integer.
    #[must_use]
    pub fn range(&self) -> (f32, f32) {
        let (low, high) = self.integers();
        let value = |q: i32| (q - self.zero_point) as f32 * self.scale;
        (value(low), value(high))
    }

    /// The inputs from the second on, if they are one constant scale and zero point; `unstated`
    /// is the type without a zero point.
    pub(super) fn parse(node: &mut Parsing<'_>, unstated: DType) -> Option<Self> {
        let Input::Known(scale) = node.float_input(1) else {
            return None;
        };
        let zero_point = match node.constant(2) {
            Some(tensor) => match tensor.data() {
                TensorData::U8(v) | TensorData::U4(v) => i32::from(*v.first()?),
                TensorData::I8(v) | TensorData::I4(v) => i32::from(*v.first()?),
                _ => return None,
            },
            None if node.inputs.get(2).copied().flatten().is_some() => return None,
            None => 0,
        };
        let one = node.constant(2).is_none_or(|tensor| tensor.len() == 1);
        let dtype = node.constant(2).map_or(unstated, Tensor::dtype);
        let sound = scale.is_finite() && scale > 0.0 && one;
        let quantization = Self {
            scale,
            zero_point,
            dtype,
        };
        let eight = matches!(dtype, DType::U8 | DType::I8 | DType::U4 | DType::I4);
        (sound && eight).then_some(quantization)
    }

    pub(super) fn emit(&self, out: &mut Emission) {
        out.float_input("scale", Some(self.scale));
        let data = match self.dtype {
            DType::I4 => TensorData::I4(vec![self.zero_point as i8]),
            DType::U4 => TensorData::U4(vec![self.zero_point as u8]),
            DType::U8 => TensorData::U8(vec![self.zero_point as u8]),
            _ => TensorData::I8(vec![self.zero_point as i8]),
        };
        out.scalar_input("zero_point", data);
    }

    pub(super) fn since(&self) -> i64 {
        match self.dtype {
            DType::I4 | DType::U4 => FOUR_BITS,
            _ => 10,
        }
    }
}

/// `saturate(round(x / scale) + zero_point)`, with ties to the even integer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantizeLinear(pub Quantization);

impl Operator for QuantizeLinear {
    const NAME: &'static str = "QuantizeLinear";
    const VERSIONS: &'static [i64] = &[10, 13, 19, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 10;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        self.0.since()
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        // With one scale the axis has no effect.
        node.int("axis", 1)?;
        let saturates = node.flag("saturate", true)?;
        let stated = node.int("output_dtype", 0)?;
        let blocks = node.int("block_size", 0)?;
        let unstated = match stated {
            0 | 2 => DType::U8,
            3 => DType::I8,
            21 => DType::U4,
            22 => DType::I4,
            _ => return Ok(None),
        };
        let Some(quantization) = Quantization::parse(node, unstated) else {
            return Ok(None);
        };
        let agrees = stated == 0 || unstated == quantization.dtype;
        let floats = node.float_like(0);
        if blocks != 0 || !saturates || !agrees || !floats {
            return Ok(None);
        }
        node.keep_inputs(1);
        Ok(Some(Self(quantization)))
    }

    fn emit(&self, out: &mut Emission) {
        self.0.emit(out);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
