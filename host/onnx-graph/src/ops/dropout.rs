//! [Dropout](https://onnx.ai/onnx/operators/onnx__Dropout.html), as it is at inference: the input, unchanged.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::graph::Shape;

/// Dropout at inference. Its ratio says nothing about the network that is deployed and is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropout;

impl Operator for Dropout {
    const NAME: &'static str = "Dropout";
    const INPUTS: (usize, usize) = (1, 1);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        node.float("ratio", 0.5)?;
        node.int("seed", 0)?;
        node.int("is_test", 0)?;
        let training = match node.inputs.get(2).copied().flatten() {
            None => false,
            Some(id) => match node.graph.constant(id).map(crate::Tensor::data) {
                Some(crate::TensorData::Bool(v)) => v.iter().any(|&b| b),
                _ => true,
            },
        };
        if training || !node.only_first_output() {
            return Ok(None);
        }
        node.keep_inputs(1);
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        same(facts)
    }
}
