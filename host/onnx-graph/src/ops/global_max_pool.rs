//! [GlobalMaxPool](https://onnx.ai/onnx/operators/onnx__GlobalMaxPool.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::graph::{Dim, Shape};

/// The maximum over all spatial axes, which become 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GlobalMaxPool;

impl Operator for GlobalMaxPool {
    const NAME: &'static str = "GlobalMaxPool";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        if x.len() < 2 {
            return Err(format!("{x:?} has no channel axis"));
        }
        one(Some(
            x.iter()
                .enumerate()
                .map(|(i, d)| if i < 2 { d.clone() } else { Dim::Known(1) })
                .collect(),
        ))
    }
}
