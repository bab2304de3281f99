//! [Shape](https://onnx.ai/onnx/operators/onnx__Shape.html); after folding only the sizes of open
//! axes are left.

use ndarray::Array1;

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::fold::{Array, Element, Fold};
use crate::value::{Dim, Shape as Dims};
use crate::{DType, GraphError};

/// The list of the sizes of the axes `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// First axis; negative counts from the end.
    pub start: i64,
    /// Axis behind the last; negative counts from the end; `None` means the rank.
    pub end: Option<i64>,
}

impl Shape {
    /// Returns the listed axes of a value of `rank` dimensions.
    #[must_use]
    pub fn range(&self, rank: usize) -> std::ops::Range<usize> {
        let signed = i64::try_from(rank).unwrap_or(i64::MAX);
        let clamp =
            |v: i64| (if v < 0 { v.saturating_add(signed) } else { v }).clamp(0, signed) as usize;
        let (start, end) = (clamp(self.start), self.end.map_or(rank, clamp));
        start..end.max(start)
    }

    /// Whether the sizes of all axes are listed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.start == 0 && self.end.is_none()
    }

    fn fold(&self, shape: &[Dim]) -> Option<Array> {
        let sizes = shape.get(self.range(shape.len()))?;
        let list: Array1<Element> = sizes.iter().cloned().map(Element::from).collect();
        Some(Array::Sizes(list.into_dyn(), DType::I64))
    }
}

impl Operator for Shape {
    const NAME: &'static str = "Shape";
    const VERSIONS: &'static [i64] = &[1, 13, 15, 19, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    // Before opset 15, which introduces ranges, the writer slices the list of all sizes.
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Shape(Self::fold);

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
