//! [PRelu](https://onnx.ai/onnx/operators/onnx__PRelu.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::value::Shape;

/// `x` where it is positive, `slope * x` elsewhere. Inputs: `x` and the slope, which broadcasts
/// to `x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PRelu;

impl Operator for PRelu {
    const NAME: &'static str = "PRelu";
    const VERSIONS: &'static [i64] = &[1, 6, 7, 9, 16];
    const INPUTS: (usize, usize) = (2, 2);
    const SINCE: i64 = 7;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        // Before opset 7 the slope is per channel, without broadcasting.
        Ok((node.opset >= 7).then_some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        if let Some(slope) = facts.shape(1) {
            let out = broadcast(x, slope)?;
            if out.len() != x.len() {
                return Err(format!("a slope of {slope:?} does not broadcast to {x:?}"));
            }
        }
        one(Some(x.to_vec()))
    }
}
