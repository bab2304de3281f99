//! [LogSoftmax](https://onnx.ai/onnx/operators/onnx__LogSoftmax.html). Before opset 13 it flattened its input at the axis; such a
//! node is read where that means the same.

use super::context::{Emission, Facts, Operator, Parsing, same, softmax_since};
use crate::GraphError;
use crate::dims;
use crate::graph::{Dim, Shape};

/// `log(softmax(x))` along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSoftmax {
    /// The axis; negative counts from the end.
    pub axis: i64,
}

impl LogSoftmax {
    /// Position of the axis in a value of `rank` dimensions, when it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        dims::axis(self.axis, rank).ok()
    }
}

impl Operator for LogSoftmax {
    const NAME: &'static str = "LogSoftmax";
    const INPUTS: (usize, usize) = (1, 1);
    // Before 13 where that means the same.
    const SINCE: i64 = 1;

    fn since(&self, facts: &Facts<'_>) -> i64 {
        softmax_since(self.axis, facts)
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let op = Self {
            axis: node.int("axis", if node.opset < 13 { 1 } else { -1 })?,
        };
        if node.opset >= 13 {
            return Ok(Some(op));
        }
        let Some(shape) = node.shape(0) else {
            return Ok(None);
        };
        let last = op
            .axis(shape.len())
            .is_some_and(|a| shape[a + 1..].iter().all(|d| *d == Dim::Known(1)));
        Ok(last.then_some(op))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        if let Some(shape) = facts.shape(0) {
            dims::axis(self.axis, shape.len())?;
        }
        same(facts)
    }
}
