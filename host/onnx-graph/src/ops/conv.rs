//! [Conv](https://onnx.ai/onnx/operators/onnx__Conv.html); `auto_pad` is resolved into `pads`.

use super::context::{Emission, Facts, Operator, Parsing, one, open_shape};
use super::window::{self, Window};
use crate::GraphError;
use crate::value::{Dim, Shape};

/// A convolution. Inputs: `x` (N, C, spatial...), `W` (M, C / group, kernel...), optionally `B`
/// (M).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conv {
    /// Kernel size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Padding: the begins of all spatial axes, then the ends.
    pub pads: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Number of channel groups.
    pub group: usize,
}

impl Conv {
    fn window(&self) -> Window {
        Window {
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            pads: self.pads.clone(),
            dilations: self.dilations.clone(),
        }
    }
}

impl Operator for Conv {
    const NAME: &'static str = "Conv";
    const VERSIONS: &'static [i64] = &[1, 11, 22];
    const INPUTS: (usize, usize) = (2, 3);
    const SINCE: i64 = 1;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let group = super::group(node)?;
        let kernel = node
            .shape(1)
            .and_then(|w| w.get(2..)?.iter().map(Dim::known).collect());
        let Some(Window {
            kernel,
            strides,
            pads,
            dilations,
        }) = window::parse(node, kernel)?
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            kernel,
            strides,
            pads,
            dilations,
            group,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        window::emit(out, &self.kernel, &self.strides, &self.pads);
        out.sizes("dilations", &self.dilations);
        out.int("group", self.group as i64);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let rank = self.kernel.len() + 2;
        let x = facts.ranked(0, rank, "the input")?;
        let Some(w) = facts.ranked(1, rank, "the weight")? else {
            return one(None);
        };
        for (i, (dim, &k)) in w[2..].iter().zip(&self.kernel).enumerate() {
            if dim.known().is_some_and(|d| d != k) {
                return Err(format!(
                    "the weight {w:?} has another size than the kernel {:?} at spatial axis {i}",
                    self.kernel
                ));
            }
        }
        let Dim::Known(out_channels) = w[0] else {
            return one(None);
        };
        if self.group == 0 || !out_channels.is_multiple_of(self.group) {
            return Err(format!(
                "{out_channels} output channels do not split into {} groups",
                self.group
            ));
        }
        if let Some(Dim::Known(b)) = facts.ranked(2, 1, "the bias")?.map(|b| &b[0])
            && *b != out_channels
        {
            return Err(format!("a bias of {b} for {out_channels} output channels"));
        }
        // Rank and channels of the output do not depend on the input.
        let Some(x) = x else {
            return one(Some(open_shape(facts, out_channels, rank)));
        };
        if let (Dim::Known(c), Dim::Known(per_group)) = (&x[1], &w[1])
            && per_group.checked_mul(self.group) != Some(*c)
        {
            return Err(format!(
                "{c} input channels, the weight {w:?} in {} groups takes another number",
                self.group
            ));
        }
        let mut out = vec![x[0].clone(), Dim::Known(out_channels)];
        out.extend(window::slide(&x[2..], &self.window(), false)?);
        one(Some(out))
    }
}
