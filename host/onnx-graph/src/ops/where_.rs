//! [Where](https://onnx.ai/onnx/operators/onnx__Where.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::graph::Shape;

/// Element by element the second input where the first is true, else the third; all are broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Where;

impl Operator for Where {
    const NAME: &'static str = "Where";
    const INPUTS: (usize, usize) = (3, 3);
    const SINCE: i64 = 9;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let (Some(condition), Some(a), Some(b)) = (facts.shape(0), facts.shape(1), facts.shape(2))
        else {
            return one(None);
        };
        one(Some(broadcast(condition, &broadcast(a, b)?)?))
    }
}
