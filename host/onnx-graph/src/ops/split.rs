//! [Split](https://onnx.ai/onnx/operators/onnx__Split.html); the sizes, an attribute before opset
//! 13 and an input since, are resolved into the operator, and so are equal parts.

use super::context::{Emission, Facts, Input, Operator, Parsing, since_axes};
use crate::GraphError;
use crate::dims;
use crate::value::{Dim, Shape};

/// Cuts the input along `axis` into one output for each size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// The axis; negative counts from the end.
    pub axis: i64,
    /// Size per part; the sum is the size of the axis.
    pub sizes: Vec<usize>,
}

impl Split {
    /// Returns the position of the axis in a value of `rank` dimensions, if it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        dims::axis(self.axis, rank).ok()
    }
}

impl Operator for Split {
    const NAME: &'static str = "Split";
    const VERSIONS: &'static [i64] = &[1, 2, 11, 13, 18];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 2;
    const MANY_OUTPUTS: bool = true;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &[self.axis])
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let axis = node.int("axis", 0)?;
        let parts = usize::try_from(node.int("num_outputs", node.outputs as i64)?).unwrap_or(0);
        let stated = match node.ints("split")? {
            Some(sizes) => Some(sizes),
            None => match node.int_input(1) {
                Input::Absent => None,
                Input::Known(sizes) => Some(sizes),
                Input::Dynamic => return Ok(None),
            },
        };
        let sizes: Vec<usize> = if let Some(stated) = stated {
            match stated.iter().map(|&s| usize::try_from(s).ok()).collect() {
                Some(sizes) => sizes,
                None => return Err(node.malformed(format!("{stated:?} are no sizes"))),
            }
        } else {
            if parts != node.outputs || parts == 0 {
                return Err(node.malformed(format!("{parts} parts for {} outputs", node.outputs)));
            }
            let Some(x) = node.shape(0) else {
                return Ok(None);
            };
            let at = dims::axis(axis, x.len()).map_err(|reason| node.malformed(reason))?;
            let Dim::Known(size) = x[at] else {
                return Ok(None);
            };
            let part = size.div_ceil(parts);
            (0..parts)
                .map(|i| part.min(size.saturating_sub(part.saturating_mul(i))))
                .collect()
        };
        if sizes.len() != node.outputs {
            return Err(node.malformed(format!(
                "{} sizes for {} outputs",
                sizes.len(),
                node.outputs
            )));
        }
        node.keep_inputs(1);
        Ok(Some(Self { axis, sizes }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
        let sizes: Vec<i64> = self.sizes.iter().map(|&s| s as i64).collect();
        if out.opset < 13 {
            out.ints("split", &sizes);
        } else {
            out.ints_input("split", &sizes);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        if self.sizes.len() != facts.outputs.len() {
            return Err(format!(
                "{} sizes for {} outputs",
                self.sizes.len(),
                facts.outputs.len()
            ));
        }
        let Some(x) = facts.shape(0) else {
            return Ok(vec![None; self.sizes.len()]);
        };
        let axis = dims::axis(self.axis, x.len())?;
        let sum = self
            .sizes
            .iter()
            .try_fold(0usize, |t, &s| t.checked_add(s))
            .ok_or("the sizes overflow")?;
        if let Dim::Known(size) = x[axis]
            && sum != size
        {
            return Err(format!("parts {:?} of an axis of {size}", self.sizes));
        }
        let part = |&size: &usize| {
            let mut out = x.to_vec();
            out[axis] = Dim::Known(size);
            Some(out)
        };
        Ok(self.sizes.iter().map(part).collect())
    }
}
