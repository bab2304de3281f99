//! [Concat](https://onnx.ai/onnx/operators/onnx__Concat.html).

use super::context::{Emission, Facts, Operator, Parsing, one, since_axes};
use crate::GraphError;
use crate::dims;
use crate::fold::{Array, Fold, Operands};
use crate::value::{Dim, Shape};

/// The inputs joined along `axis`; all other axes agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concat {
    /// The axis; negative counts from the end.
    pub axis: i64,
}

impl Concat {
    /// Returns the position of the axis in a value of `rank` dimensions, if it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        dims::axis(self.axis, rank).ok()
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let count = operands.operands.len();
        let parts: Vec<Array> = (0..count).map(|i| operands.get(i)).collect::<Option<_>>()?;
        let rank = parts.first()?.dims().len();
        let total = parts
            .iter()
            .map(Array::len)
            .fold(0usize, usize::saturating_add);
        if total > operands.limit || parts.iter().any(|x| x.dims().len() != rank) {
            return None;
        }
        Array::concatenated(parts, self.axis(rank)?)
    }
}

impl Operator for Concat {
    const NAME: &'static str = "Concat";
    const VERSIONS: &'static [i64] = &[1, 4, 11, 13];
    const INPUTS: (usize, usize) = (1, usize::MAX);
    const SINCE: i64 = 4;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &[self.axis])
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        if node.opset < 4 {
            return Ok(Some(Self {
                axis: node.int("axis", 1)?,
            }));
        }
        if !node.has("axis") {
            return Err(node.malformed("the attribute 'axis' is missing"));
        }
        Ok(Some(Self {
            axis: node.int("axis", 0)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(first) = facts.shape(0) else {
            return one(None);
        };
        let axis = dims::axis(self.axis, first.len())?;
        let mut out = first.to_vec();
        let mut total = Some(0usize);
        let mut names = Vec::new();
        for i in 0..facts.inputs.len() {
            let Some(x) = facts.ranked(i, first.len(), "an input")? else {
                return one(None);
            };
            for (a, (have, dim)) in out
                .iter_mut()
                .zip(x)
                .enumerate()
                .filter(|&(a, _)| a != axis)
            {
                match (&*have, dim) {
                    (Dim::Known(h), Dim::Known(d)) if h != d => {
                        return Err(format!("inputs {first:?} and {x:?} disagree at axis {a}"));
                    }
                    (Dim::Symbol(_), Dim::Known(_)) => *have = dim.clone(),
                    _ => {}
                }
            }
            match &x[axis] {
                Dim::Known(n) => {
                    total = total
                        .map(|t| t.checked_add(*n))
                        .map_or(Ok(None), |t| t.map(Some).ok_or("the size overflows"))?;
                    names.push(n.to_string());
                }
                Dim::Symbol(s) => {
                    total = None;
                    names.push(s.clone());
                }
            }
        }
        out[axis] = match total {
            Some(n) => Dim::Known(n),
            None => Dim::Symbol(names.join("+")),
        };
        one(Some(out))
    }
}
