//! [BatchNormalization](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html) as it is at inference.
//!
//! An export made in training mode (batch statistics, further outputs) is read as the network that would be deployed
//! when nothing reads those outputs: with the running statistics it carries.
//! [`Graph::training`](crate::Graph::training) names it.

use super::context::{Emission, Facts, Operator, Parsing, one, same};
use crate::GraphError;
use crate::graph::{Dim, Shape};

/// `scale * (x - mean) / sqrt(var + epsilon) + bias` by channel. Inputs: `x` (N, C, ...), then scale, bias, mean and
/// variance, each (C).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the old running statistics at a training step (ONNX's convention: one minus PyTorch's).
    pub momentum: f32,
}

impl Default for BatchNormalization {
    /// The defaults of ONNX.
    fn default() -> Self {
        Self {
            epsilon: 1e-5,
            momentum: 0.9,
        }
    }
}

impl Operator for BatchNormalization {
    const NAME: &'static str = "BatchNormalization";
    const INPUTS: (usize, usize) = (5, 5);
    const SINCE: i64 = 7;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let epsilon = node.float("epsilon", 1e-5)?;
        let momentum = node.float("momentum", 0.9)?;
        // Before opset 14 further outputs say it, before 7 an attribute whose default does.
        let trains = node.flag("training_mode", false)?;
        let tests = node.flag("is_test", false)?;
        node.training |= match node.opset {
            14.. => trains,
            7..14 => node.outputs > 1,
            _ => !tests,
        };
        if !node.flag("spatial", true)? || !node.only_first_output() {
            return Ok(None);
        }
        Ok(Some(Self { epsilon, momentum }))
    }

    fn emit(&self, out: &mut Emission) {
        out.float("epsilon", self.epsilon);
        out.float("momentum", self.momentum);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let Some(channels) = x.get(1) else {
            return Err(format!("{x:?} has no channel axis"));
        };
        for (i, what) in [(1, "scale"), (2, "bias"), (3, "mean"), (4, "variance")] {
            if let (Some(Dim::Known(n)), Dim::Known(c)) =
                (facts.ranked(i, 1, what)?.map(|s| &s[0]), channels)
                && n != c
            {
                return Err(format!("{what} has {n} elements for {c} channels"));
            }
        }
        same(facts)
    }
}
