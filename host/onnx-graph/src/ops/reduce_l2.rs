//! [ReduceL2](https://onnx.ai/onnx/operators/onnx__ReduceL2.html); the axes, an input since opset 18, are resolved into
//! the operator.

use super::context::{Emission, Facts, Operator, Parsing};
use super::reduce;
use crate::GraphError;
use crate::graph::Shape;

/// The Euclidean norm over `axes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReduceL2 {
    /// Axes; negative counts from the end; empty means all.
    pub axes: Vec<i64>,
    /// Whether the axes stay, with size 1.
    pub keepdims: bool,
}

impl ReduceL2 {
    /// Positions of the axes in a value of `rank` dimensions, ascending, when they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        reduce::axes(&self.axes, rank)
    }
}

impl Operator for ReduceL2 {
    const NAME: &'static str = "ReduceL2";
    const INPUTS: (usize, usize) = (1, 1);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(reduce::parse(node)?.map(|(axes, keepdims)| Self { axes, keepdims }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("keepdims", i64::from(self.keepdims));
        if !self.axes.is_empty() {
            if out.opset < 18 {
                out.ints("axes", &self.axes);
            } else {
                out.ints_input("axes", &self.axes);
            }
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        reduce::shapes(&self.axes, self.keepdims, facts)
    }
}
