//! [Dropout](https://onnx.ai/onnx/operators/onnx__Dropout.html) in its inference form: the input,
//! unchanged.
//!
//! A node in training mode, or in a mode that the network computes, is read in this form too;
//! [`Graph::training`](crate::Graph::training) names it.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::value::Shape;
use crate::{GraphError, Tensor, TensorData};

/// Dropout at inference. The ratio has no effect there and is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropout;

impl Operator for Dropout {
    const NAME: &'static str = "Dropout";
    const VERSIONS: &'static [i64] = &[1, 6, 7, 10, 12, 13, 22];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 7;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        node.float("ratio", 0.5)?;
        node.int("seed", 0)?;
        let tests = node.flag("is_test", false)?;
        let training_input = node.inputs.get(2).copied().flatten().is_some();
        let training = match node.constant(2).map(Tensor::data) {
            Some(TensorData::Bool(v)) => v.iter().any(|&b| b),
            _ => training_input,
        };
        let drops = !matches!(node.constant(1).map(Tensor::data), Some(TensorData::F32(v)) if v[..] == [0.0]);
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
