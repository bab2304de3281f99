//! [Gelu](https://onnx.ai/onnx/operators/onnx__Gelu.html), an operator of its own since opset 20.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::value::Shape;

/// The Gaussian error linear unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Gelu {
    /// Whether a hyperbolic tangent approximates the error function.
    pub tanh: bool,
}

impl Operator for Gelu {
    const NAME: &'static str = "Gelu";
    const VERSIONS: &'static [i64] = &[20];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 20;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        match node.text("approximate")?.unwrap_or("none") {
            "none" => Ok(Some(Self { tanh: false })),
            "tanh" => Ok(Some(Self { tanh: true })),
            other => Err(node.malformed(format!("attribute 'approximate' is '{other}'"))),
        }
    }

    fn emit(&self, out: &mut Emission) {
        out.text("approximate", if self.tanh { "tanh" } else { "none" });
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
