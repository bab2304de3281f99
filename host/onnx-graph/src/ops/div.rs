//! [Div](https://onnx.ai/onnx/operators/onnx__Div.html), with broadcasting.

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::graph::Shape;

/// `a / b`, the inputs broadcast against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Div;

impl Operator for Div {
    const NAME: &'static str = "Div";
    const INPUTS: (usize, usize) = (2, 2);
    const SINCE: i64 = 7;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let (Some(a), Some(b)) = (facts.shape(0), facts.shape(1)) else {
            return one(None);
        };
        one(Some(broadcast(a, b)?))
    }
}
