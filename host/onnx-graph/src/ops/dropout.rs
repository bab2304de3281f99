//! [Dropout](https://onnx.ai/onnx/operators/onnx__Dropout.html), as it is at inference: the input, unchanged. One in training
//! mode, or in a mode that the network computes, is read so too, and [`Graph::training`](crate::Graph::training) names it.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// Dropout at inference. Its ratio says nothing about the network that is deployed and is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropout;

impl Operator for Dropout {
    const NAME: &'static str = "Dropout";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 7;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        node.float("ratio", 0.5)?;
        node.int("seed", 0)?;
        let tests = node.flag("is_test", false)?;
        let constant = |i: usize| {
            let id = node.inputs.get(i).copied().flatten()?;
            Some(node.graph.constant(id).map(crate::Tensor::data))
        };
        let training = match constant(2) {
            None => false,
            Some(Some(crate::TensorData::Bool(v))) => v.iter().any(|&b| b),
            Some(_) => true,
        };
        // A ratio of nothing drops nothing.
        let drops = !matches!(constant(1), Some(Some(crate::TensorData::F32(v))) if v[..] == [0.0]);
        let training = if node.opset < 7 {
            !tests
        } else {
            training && drops
        };
        if !node.only_first_output() {
            return Ok(None);
        }
        node.training |= training;
        node.keep_inputs(1);
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
