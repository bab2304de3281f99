//! [Flatten](https://onnx.ai/onnx/operators/onnx__Flatten.html).

use super::context::{Emission, Facts, Operator, Parsing, one, since_axes};
use crate::GraphError;
use crate::dims::Product;
use crate::fold::{Array, Fold, Operands};
use crate::value::Shape;

/// Merges the axes before `axis` into one and the axes from `axis` on into another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flatten {
    /// Where to split; negative counts from the end; the rank itself is allowed.
    pub axis: i64,
}

impl Flatten {
    /// Returns the split as a position from 0 to `rank`, if it is in range.
    #[must_use]
    pub fn axis(&self, rank: usize) -> Option<usize> {
        let at = if self.axis < 0 {
            self.axis.checked_add(i64::try_from(rank).ok()?)?
        } else {
            self.axis
        };
        usize::try_from(at).ok().filter(|&a| a <= rank)
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let (rows, columns) = x.dims().split_at(self.axis(x.dims().len())?);
        let dims = [rows.iter().product(), columns.iter().product()];
        x.reshaped(&dims)
    }
}

impl Operator for Flatten {
    const NAME: &'static str = "Flatten";
    const VERSIONS: &'static [i64] = &[1, 9, 11, 13, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &[self.axis])
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
