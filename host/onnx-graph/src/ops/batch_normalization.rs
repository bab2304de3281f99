//! [BatchNormalization](https://onnx.ai/onnx/operators/onnx__BatchNormalization.html) in its
//! inference form.
//!
//! A node in training mode (batch statistics, further outputs) is read in its inference form,
//! with the running statistics that it carries, unless a node reads the further outputs.
//! [`Graph::training`](crate::Graph::training) names it.

use ndarray::{Axis, Ix1};

use super::context::{Emission, Facts, Operator, Parsing, one, same};
use crate::GraphError;
use crate::fold::{Array, Fold, Operands};
use crate::value::{Dim, Shape};

/// `scale * (x - mean) / sqrt(var + epsilon) + bias` per channel. Inputs: `x` (N, C, ...), then
/// scale, bias, mean and variance, each (C).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchNormalization {
    /// Added to the variance.
    pub epsilon: f32,
    /// Weight of the old running statistics in a training step (one minus PyTorch's momentum).
    pub momentum: f32,
}

impl BatchNormalization {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let list = |i: usize| operands.floats(i)?.into_dimensionality::<Ix1>().ok();
        let (scale, bias, mean, var) = (list(1)?, list(2)?, list(3)?, list(4)?);
        let mut x = operands.floats(0)?;
        let channels = *x.shape().get(1)?;
        if [&scale, &bias, &mean, &var]
            .iter()
            .any(|l| l.len() != channels)
        {
            return None;
        }
        for (c, mut part) in x.axis_iter_mut(Axis(1)).enumerate() {
            let factor = scale[c] / (var[c] + self.epsilon).sqrt();
            part.mapv_inplace(|v| (v - mean[c]) * factor + bias[c]);
        }
        Some(Array::Floats(x))
    }
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
    const VERSIONS: &'static [i64] = &[1, 6, 7, 9, 14, 15];
    const INPUTS: (usize, usize) = (5, 5);
    const SINCE: i64 = 7;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let epsilon = node.float("epsilon", 1e-5)?;
        let momentum = node.float("momentum", 0.9)?;
        // Before opset 14 further outputs imply training mode, before 7 the default of an
        // attribute does.
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
