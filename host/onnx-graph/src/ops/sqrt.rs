//! [Sqrt](https://onnx.ai/onnx/operators/onnx__Sqrt.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// Square root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sqrt;

impl Operator for Sqrt {
    const NAME: &'static str = "Sqrt";
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
