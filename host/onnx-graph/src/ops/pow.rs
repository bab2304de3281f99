//! [Pow](https://onnx.ai/onnx/operators/onnx__Pow.html) with a constant exponent, which is
//! resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, same};
use crate::GraphError;
use crate::fold::Fold;
use crate::value::Shape;

/// Every element to the power of `exponent`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pow {
    /// The exponent.
    pub exponent: f32,
}

impl Operator for Pow {
    const NAME: &'static str = "Pow";
    const VERSIONS: &'static [i64] = &[1, 7, 12, 13, 15];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 7;
    const FOLD: Fold<Self> = Fold::Elements(|op, x| x.map(|v| v.powf(op.exponent)));

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let Input::Known(exponent) = node.float_input(1) else {
            return Ok(None);
        };
        node.keep_inputs(1);
        Ok(Some(Self { exponent }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float_input("exponent", Some(self.exponent));
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
