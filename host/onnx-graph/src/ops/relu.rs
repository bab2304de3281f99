//! [Relu](https://onnx.ai/onnx/operators/onnx__Relu.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// `max(x, 0)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relu;

impl Operator for Relu {
    const NAME: &'static str = "Relu";
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
