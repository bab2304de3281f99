//! [Clip](https://onnx.ai/onnx/operators/onnx__Clip.html); the bounds, attributes before opset 11 and inputs since,
//! are resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// Limits `x` to `min..=max`; a bound left out does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clip {
    /// Lower bound.
    pub min: Option<f32>,
    /// Upper bound.
    pub max: Option<f32>,
}

impl Operator for Clip {
    const NAME: &'static str = "Clip";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 6;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        if node.opset < 11 {
            return Ok(Some(Self {
                min: node.maybe_float("min")?,
                max: node.maybe_float("max")?,
            }));
        }
        let mut bounds = [None; 2];
        for (i, bound) in bounds.iter_mut().enumerate() {
            match node.float_input(i + 1) {
                Input::Absent => {}
                Input::Known(v) => *bound = Some(v),
                Input::Dynamic => return Ok(None),
            }
        }
        node.keep_inputs(1);
        Ok(Some(Self {
            min: bounds[0],
            max: bounds[1],
        }))
    }

    fn emit(&self, out: &mut Emission) {
        for (name, bound) in [("min", self.min), ("max", self.max)] {
            if out.opset >= 11 {
                out.float_input(name, bound);
            } else if let Some(bound) = bound {
                out.float(name, bound);
            }
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
