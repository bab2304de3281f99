//! [HardSwish](https://onnx.ai/onnx/operators/onnx__HardSwish.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// `x * max(0, min(1, x / 6 + 1 / 2))`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HardSwish;

impl Operator for HardSwish {
    const NAME: &'static str = "HardSwish";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 14;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
