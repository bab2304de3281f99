//! [HardSigmoid](https://onnx.ai/onnx/operators/onnx__HardSigmoid.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// `max(0, min(1, alpha * x + beta))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HardSigmoid {
    /// Slope.
    pub alpha: f32,
    /// Value at zero.
    pub beta: f32,
}

impl Operator for HardSigmoid {
    const NAME: &'static str = "HardSigmoid";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 6;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self {
            alpha: node.float("alpha", 0.2)?,
            beta: node.float("beta", 0.5)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float("alpha", self.alpha);
        out.float("beta", self.beta);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
