//! [Erf](https://onnx.ai/onnx/operators/onnx__Erf.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// The error function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Erf;

impl Operator for Erf {
    const NAME: &'static str = "Erf";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 9;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
