//! [Tanh](https://onnx.ai/onnx/operators/onnx__Tanh.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// Hyperbolic tangent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tanh;

impl Operator for Tanh {
    const NAME: &'static str = "Tanh";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 6;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
