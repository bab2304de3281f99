//! [ReduceMean](https://onnx.ai/onnx/operators/onnx__ReduceMean.html); the axes, an input since opset 18, are resolved
//! into the operator and written as the operator set of the file wants them.

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::GraphError;
use crate::dims;
use crate::graph::{Dim, Shape};

/// The mean over `axes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReduceMean {
    /// Axes; negative counts from the end; empty means all.
    pub axes: Vec<i64>,
    /// Whether the axes stay, with size 1.
    pub keepdims: bool,
}

impl ReduceMean {
    /// Positions of the axes in a value of `rank` dimensions, ascending, when they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        if self.axes.is_empty() { Some((0..rank).collect()) } else { dims::axes(&self.axes, rank).ok() }
    }
}

impl Operator for ReduceMean {
    const NAME: &'static str = "ReduceMean";
    const INPUTS: (usize, usize) = (1, 1);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let keepdims = node.flag("keepdims", true)?;
        let skips_when_empty = node.flag("noop_with_empty_axes", false)?;
        let axes = match node.ints("axes")? {
            Some(axes) => axes,
            None => match node.int_input(1) {
                Input::Absent => Vec::new(),
                Input::Known(axes) => axes,
                Input::Dynamic => return Ok(None),
            },
        };
        if skips_when_empty && axes.is_empty() {
            return Ok(None);
        }
        node.keep_inputs(1);
        Ok(Some(Self { axes, keepdims }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("keepdims", i64::from(self.keepdims));
        if self.axes.is_empty() {
            return;
        }
        if out.opset >= 18 {
            out.ints_input("axes", &self.axes);
        } else {
            out.ints("axes", &self.axes);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else { return one(None) };
        let axes = if self.axes.is_empty() { (0..x.len()).collect() } else { dims::axes(&self.axes, x.len())? };
        let kept = x.iter().enumerate().filter_map(|(i, d)| match (axes.contains(&i), self.keepdims) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        });
        one(Some(kept.collect()))
    }
}
