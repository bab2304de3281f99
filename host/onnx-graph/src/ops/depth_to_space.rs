//! [DepthToSpace](https://onnx.ai/onnx/operators/onnx__DepthToSpace.html): channels become blocks
//! of positions.

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::Product;
use crate::value::{Dim, Shape};

/// `[N, C b b, H, W]` as `[N, C, H b, W b]` for blocks of size `b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DepthToSpace {
    /// Positions of a block along each axis.
    pub blocksize: usize,
    /// Whether the channels of an output channel lie side by side (mode `CRD`, PyTorch's
    /// `PixelShuffle`), or as far apart as there are output channels (`DCR`).
    pub adjacent: bool,
}

/// A size that `by` divides, divided.
fn divided(dim: &Dim, by: usize) -> Result<Dim, String> {
    match dim {
        Dim::Known(n) if by > 0 && n % by == 0 => Ok(Dim::Known(n / by)),
        other => Err(format!("{other:?} is not divided by {by}")),
    }
}

fn times(dim: &Dim, by: usize) -> Option<Dim> {
    Some(Product::one().times(dim)?.times(&Dim::Known(by))?.dim())
}

/// The attribute `blocksize`, if the input is an activation in floats.
fn blocksize(node: &mut Parsing<'_>) -> Result<Option<usize>, GraphError> {
    let blocksize = node.int("blocksize", 0)?;
    let size = usize::try_from(blocksize).ok().filter(|b| (1..=1 << 12).contains(b));
    let size = size.ok_or_else(|| node.malformed(format!("a block size of {blocksize}")))?;
    Ok(super::elementwise::is_activation(node).then_some(size))
}

impl Operator for DepthToSpace {
    const NAME: &'static str = "DepthToSpace";
    const VERSIONS: &'static [i64] = &[1, 11, 13];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        if self.adjacent { 11 } else { Self::SINCE }
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let adjacent = match node.text("mode")?.unwrap_or("DCR") {
            "DCR" => false,
            "CRD" => true,
            other => return Err(node.malformed(format!("attribute 'mode' is '{other}'"))),
        };
        let blocksize = blocksize(node)?;
        Ok(blocksize.map(|blocksize| Self { blocksize, adjacent }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("blocksize", self.blocksize as i64);
        if self.adjacent {
            out.text("mode", "CRD");
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some([n, c, h, w]) = facts.ranked(0, 4, "the input")? else {
            return one(None);
        };
        let b = self.blocksize;
        let c = divided(c, b * b)?;
        let (Some(h), Some(w)) = (times(h, b), times(w, b)) else {
            return one(None);
        };
        one(Some(vec![n.clone(), c, h, w]))
    }
}

/// `[N, C, H, W]` as `[N, C b b, H / b, W / b]` for blocks of size `b`: the channels of the first
/// position of all blocks come first
/// ([SpaceToDepth](https://onnx.ai/onnx/operators/onnx__SpaceToDepth.html)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpaceToDepth {
    /// Positions of a block along each axis.
    pub blocksize: usize,
}

impl Operator for SpaceToDepth {
    const NAME: &'static str = "SpaceToDepth";
    const VERSIONS: &'static [i64] = &[1, 13];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(blocksize(node)?.map(|blocksize| Self { blocksize }))
    }

    fn emit(&self, out: &mut Emission) {
        out.int("blocksize", self.blocksize as i64);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some([n, c, h, w]) = facts.ranked(0, 4, "the input")? else {
            return one(None);
        };
        let b = self.blocksize;
        let Some(c) = times(c, b * b) else {
            return one(None);
        };
        one(Some(vec![n.clone(), c, divided(h, b)?, divided(w, b)?]))
    }
}
