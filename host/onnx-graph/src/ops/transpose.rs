//! [Transpose](https://onnx.ai/onnx/operators/onnx__Transpose.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::fold::Fold;
use crate::value::Shape;

/// Axis `i` of the output is axis `perm[i]` of the input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transpose {
    /// A permutation of the axes.
    pub perm: Vec<usize>,
}

impl Operator for Transpose {
    const NAME: &'static str = "Transpose";
    const VERSIONS: &'static [i64] = &[1, 13, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(|op, x| x.get(0)?.permuted(&op.perm));

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let perm = match (node.sizes("perm")?, node.shape(0)) {
            (Some(perm), _) => perm,
            (None, Some(x)) => (0..x.len()).rev().collect(),
            (None, None) => return Ok(None),
        };
        Ok(Some(Self { perm }))
    }

    fn emit(&self, out: &mut Emission) {
        out.sizes("perm", &self.perm);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        if sorted.iter().enumerate().any(|(i, &p)| i != p) {
            return Err(format!("{:?} is no permutation", self.perm));
        }
        let Some(x) = facts.ranked(0, self.perm.len(), "the input")? else {
            return one(None);
        };
        one(Some(self.perm.iter().map(|&p| x[p].clone()).collect()))
    }
}
