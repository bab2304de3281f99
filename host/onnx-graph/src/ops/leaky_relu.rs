//! [LeakyRelu](https://onnx.ai/onnx/operators/onnx__LeakyRelu.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// `x` where it is positive, `alpha * x` elsewhere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeakyRelu {
    /// Slope of the negative half.
    pub alpha: f32,
}

impl Operator for LeakyRelu {
    const NAME: &'static str = "LeakyRelu";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 6;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self {
            alpha: node.float("alpha", 0.01)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float("alpha", self.alpha);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
