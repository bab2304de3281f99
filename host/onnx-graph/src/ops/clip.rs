//! [Clip](https://onnx.ai/onnx/operators/onnx__Clip.html); the bounds, attributes before opset 11
//! and inputs since, are resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, same};
use crate::GraphError;
use crate::fold::{Array, Fold, Operands};
use crate::value::Shape;

/// Limits `x` to `min..=max`; an omitted bound does not limit.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Clip {
    /// Lower bound.
    pub min: Option<f32>,
    /// Upper bound.
    pub max: Option<f32>,
}

/// Integers below this are exact as floats.
const EXACT: u64 = 1 << 24;

impl Clip {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let low = self.min.unwrap_or(f32::NEG_INFINITY);
        let high = self.max.unwrap_or(f32::INFINITY);
        if low.is_nan() || high.is_nan() || low > high {
            return None;
        }
        match operands.get(0)? {
            Array::Floats(x) => Some(Array::Floats(x.mapv(|v| v.clamp(low, high)))),
            Array::Ints(x, dtype) if x.iter().all(|v| v.unsigned_abs() < EXACT) => {
                let clipped = x.mapv(|v| (v as f32).clamp(low, high) as i64);
                Some(Array::Ints(clipped, dtype))
            }
            _ => None,
        }
    }
}

impl Operator for Clip {
    const NAME: &'static str = "Clip";
    const VERSIONS: &'static [i64] = &[1, 6, 11, 12, 13];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 6;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

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
