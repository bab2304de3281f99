//! [DequantizeLinear](https://onnx.ai/onnx/operators/onnx__DequantizeLinear.html) of activations,
//! with one constant scale and zero point for the tensor. Other forms stay opaque. A constant
//! operand is read as floats that are [stored](crate::Tensor::stored) as integers.

use super::context::{Emission, Facts, Operator, Parsing, same};
use super::quantize_linear::Quantization;
use crate::value::Shape;
use crate::{DType, GraphError};

/// `(x - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DequantizeLinear(pub Quantization);

impl Operator for DequantizeLinear {
    const NAME: &'static str = "DequantizeLinear";
    const VERSIONS: &'static [i64] = &[10, 13, 19, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 10;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        self.0.since()
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        node.int("axis", 1)?;
        let blocks = node.int("block_size", 0)?;
        let floats = matches!(node.int("output_dtype", 0)?, 0 | 1);
        let dtype = node.dtype(0).unwrap_or(DType::Bool);
        let quantization = Quantization::parse(node, dtype);
        // The zero point has the type of the input.
        let Some(quantization) = quantization.filter(|q| q.dtype == dtype) else {
            return Ok(None);
        };
        if blocks != 0 || !floats {
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
