//! [InstanceNormalization](https://onnx.ai/onnx/operators/onnx__InstanceNormalization.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::value::Shape;

/// Normalises each channel of each image to mean 0 and variance 1, then scales and shifts it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct InstanceNormalization {
    /// Added to the variance.
    pub epsilon: f32,
}

impl Operator for InstanceNormalization {
    const NAME: &'static str = "InstanceNormalization";
    const VERSIONS: &'static [i64] = &[1, 6, 22];
    const INPUTS: (usize, usize) = (3, 3);
    const SINCE: i64 = 6;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        // Before opset 6 the output may alias the input.
        if node.opset < 6 {
            return Ok(None);
        }
        Ok(Some(Self {
            epsilon: node.float("epsilon", 1e-5)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float("epsilon", self.epsilon);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
