//! [Squeeze](https://onnx.ai/onnx/operators/onnx__Squeeze.html); the axes, an attribute before opset 13 and an input
//! since, are resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, one, with_axes};
use crate::GraphError;
use crate::dims;
use crate::graph::{Dim, Shape};

/// Drops axes of size 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squeeze {
    /// The axes; negative counts from the end; empty means every axis of size 1.
    pub axes: Vec<i64>,
}

impl Squeeze {
    /// Positions of the stated axes in a value of `rank` dimensions, ascending, when they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        dims::axes(&self.axes, rank).ok()
    }
}

impl Operator for Squeeze {
    const NAME: &'static str = "Squeeze";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        with_axes(Self::SINCE, &self.axes)
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let stated = match node.ints("axes")? {
            Some(axes) => Some(axes),
            None => match node.int_input(1) {
                Input::Absent => None,
                Input::Known(axes) => Some(axes),
                Input::Dynamic => return Ok(None),
            },
        };
        let axes = match stated {
            Some(axes) if !axes.is_empty() => axes,
            _ => match node.shape(0) {
                Some(x) => (0..x.len())
                    .filter(|&i| x[i] == Dim::Known(1))
                    .map(|i| i as i64)
                    .collect(),
                None => return Ok(None),
            },
        };
        node.keep_inputs(1);
        Ok(Some(Self { axes }))
    }

    fn emit(&self, out: &mut Emission) {
        if self.axes.is_empty() {
            return;
        }
        if out.opset < 13 {
            out.ints("axes", &self.axes);
        } else {
            out.ints_input("axes", &self.axes);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let axes = if self.axes.is_empty() {
            (0..x.len()).filter(|&i| x[i] == Dim::Known(1)).collect()
        } else {
            dims::axes(&self.axes, x.len())?
        };
        if let Some(&bad) = axes.iter().find(|&&a| x[a].known().is_some_and(|n| n != 1)) {
            return Err(format!("axis {bad} of {x:?} is not 1"));
        }
        one(Some(
            x.iter()
                .enumerate()
                .filter(|(i, _)| !axes.contains(i))
                .map(|(_, d)| d.clone())
                .collect(),
        ))
    }
}
