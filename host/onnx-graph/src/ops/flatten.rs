//! [Flatten](https://onnx.ai/onnx/operators/onnx__Flatten.html).

use super::context::{Emission, Facts, Operator, Parsing, one, with_axes};
use crate::GraphError;
use crate::dims::Product;
use crate::graph::Shape;

/// Merges the axes before `axis` into one and those from `axis` on into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatten {
    /// Where to split; negative counts from the end, the rank itself is allowed.
    pub axis: i64,
}

impl Flatten {
    /// The split as a position from 0 to `rank`, when it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        let at = if self.axis < 0 {
            self.axis.checked_add(i64::try_from(rank).ok()?)?
        } else {
            self.axis
        };
        usize::try_from(at).ok().filter(|&a| a <= rank)
    }
}

impl Operator for Flatten {
    const NAME: &'static str = "Flatten";
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        with_axes(Self::SINCE, &[self.axis])
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self {
            axis: node.int("axis", 1)?,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("axis", self.axis);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let at = self
            .axis(x.len())
            .ok_or_else(|| format!("axis {} is out of range for rank {}", self.axis, x.len()))?;
        let merge = |part| {
            Product::of(part)
                .map(Product::dim)
                .ok_or("the size overflows")
        };
        one(Some(vec![merge(&x[..at])?, merge(&x[at..])?]))
    }
}
