//! [Unsqueeze](https://onnx.ai/onnx/operators/onnx__Unsqueeze.html); the axes, an attribute before opset 13 and an
//! input since, are resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, one, with_axes};
use crate::GraphError;
use crate::dims;
use crate::graph::{Dim, Shape};

/// Inserts axes of size 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsqueeze {
    /// Positions of the new axes in the output; negative counts from its end.
    pub axes: Vec<i64>,
}

impl Unsqueeze {
    /// Positions of the new axes in an output of `rank` dimensions, ascending, when they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        dims::axes(&self.axes, rank).ok()
    }
}

impl Operator for Unsqueeze {
    const NAME: &'static str = "Unsqueeze";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        with_axes(Self::SINCE, &self.axes)
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let axes = match node.ints("axes")? {
            Some(axes) => axes,
            None => match node.int_input(1) {
                Input::Known(axes) => axes,
                Input::Absent => return Err(node.malformed("the axes are missing")),
                Input::Dynamic => return Ok(None),
            },
        };
        node.keep_inputs(1);
        Ok(Some(Self { axes }))
    }

    fn emit(&self, out: &mut Emission) {
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
        let rank = x.len() + self.axes.len();
        let axes = dims::axes(&self.axes, rank)?;
        let mut rest = x.iter().cloned();
        one((0..rank)
            .map(|i| {
                if axes.contains(&i) {
                    Some(Dim::Known(1))
                } else {
                    rest.next()
                }
            })
            .collect())
    }
}
