//! [ReduceSum](https://onnx.ai/onnx/operators/onnx__ReduceSum.html); the axes, an input since opset 13, are resolved into
//! the operator.

use super::context::{Emission, Facts, Operator, Parsing};
use super::reduce;
use crate::GraphError;
use crate::graph::Shape;

/// The sum over `axes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReduceSum {
    /// Axes; negative counts from the end; empty means all.
    pub axes: Vec<i64>,
    /// Whether the axes stay, with size 1.
    pub keepdims: bool,
}

impl ReduceSum {
    /// Positions of the axes in a value of `rank` dimensions, ascending, when they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        reduce::axes(&self.axes, rank)
    }
}

impl Operator for ReduceSum {
    const NAME: &'static str = "ReduceSum";
    const INPUTS: (usize, usize) = (1, 1);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(reduce::parse(node)?.map(|(axes, keepdims)| Self { axes, keepdims }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("keepdims", i64::from(self.keepdims));
        if !self.axes.is_empty() {
            out.ints_input("axes", &self.axes);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        reduce::shapes(&self.axes, self.keepdims, facts)
    }
}
