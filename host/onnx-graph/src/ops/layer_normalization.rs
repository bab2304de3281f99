//! [LayerNormalization](https://onnx.ai/onnx/operators/onnx__LayerNormalization.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::dims;
use crate::value::{Dim, Shape};

/// `scale * (x - mean) / sqrt(var + epsilon) + bias`, with mean and variance over the axes from
/// `axis` on. Inputs: `x`, scale, and optionally bias, both of the shape of those axes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerNormalization {
    /// First of the normalised axes; negative counts from the end.
    pub axis: i64,
    /// Added to the variance.
    pub epsilon: f32,
}

impl LayerNormalization {
    /// Returns the position of the first normalised axis in a value of `rank` dimensions, if it
    /// is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        dims::axis(self.axis, rank).ok()
    }
}

impl Operator for LayerNormalization {
    const NAME: &'static str = "LayerNormalization";
    const VERSIONS: &'static [i64] = &[17];
    const INPUTS: (usize, usize) = (2, 3);
    const SINCE: i64 = 17;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let op = Self {
            axis: node.int("axis", -1)?,
            epsilon: node.float("epsilon", 1e-5)?,
        };
        let single_precision = node.int("stash_type", 1)? == 1;
        Ok((single_precision && node.only_first_output()).then_some(op))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
        out.float("epsilon", self.epsilon);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        if let Some(x) = facts.shape(0) {
            let axis = dims::axis(self.axis, x.len())?;
            for (i, what) in [(1, "scale"), (2, "bias")] {
                if let Some(shape) = facts.shape(i)
                    && (shape.len() > x.len() - axis
                        || !shape
                            .iter()
                            .rev()
                            .zip(x.iter().rev())
                            .all(|(s, d)| fits(s, d)))
                {
                    return Err(format!("{what} of shape {shape:?} for {:?}", &x[axis..]));
                }
            }
        }
        same(facts)
    }
}

/// Whether a parameter's size broadcasts to that of the value.
fn fits(parameter: &Dim, value: &Dim) -> bool {
    match (parameter.known(), value.known()) {
        (Some(p), Some(v)) => p == v || p == 1,
        _ => true,
    }
}
