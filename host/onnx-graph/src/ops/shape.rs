//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html): what is left of it after folding is the size of the batch.

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::graph::{Dim, Shape as Dims};

/// The sizes of the axes `start..end`, as a list of integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// First axis; negative counts from the end.
    pub start: i64,
    /// Axis after the last; negative counts from the end; `None` means all.
    pub end: Option<i64>,
}

impl Shape {
    /// The axes of a value of `rank` dimensions.
    #[must_use]
    pub fn range(&self, rank: usize) -> std::ops::Range<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let clamp =
            |v: i64| (if v < 0 { v.saturating_add(signed) } else { v }).clamp(0, signed) as usize;
        let (start, end) = (clamp(self.start), self.end.map_or(rank, clamp));
        start..end.max(start)
    }

    /// Whether it lists the sizes of all axes.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end.is_none()
    }
}

impl Operator for Shape {
    const NAME: &'static str = "Shape";
    const INPUTS: (usize, usize) = (1, 1);
    // A range of the axes, of operator set 15, is cut out of the list of all where a file is older.
    const SINCE: i64 = 1;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let start = node.int("start", 0)?;
        let end = if node.has("end") {
            Some(node.int("end", 0)?)
        } else {
            None
        };
        Ok(Some(Self { start, end }))
    }

    fn emit(&self, out: &mut Emission) {
        if self.start != 0 {
            out.int("start", self.start);
        }
        if let Some(end) = self.end {
            out.int("end", end);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Dims>>, String> {
        one(facts
            .shape(0)
            .map(|x| vec![Dim::Known(self.range(x.len()).len())]))
    }
}
