//! [ConvTranspose](https://onnx.ai/onnx/operators/onnx__ConvTranspose.html); a stated output size
//! and SAME padding are read as the explicit padding that gives them.

use super::context::{Emission, Facts, Operator, Parsing, one, open_shape};
use super::window::{self, Window};
use crate::GraphError;
use crate::value::{Dim, Shape};

/// A transposed convolution. Inputs: `x` (N, C, spatial...), `W` (C, M / group, kernel...),
/// optionally `B` (M).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConvTranspose {
    /// Kernel size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Sizes cut from the output: the begins of all spatial axes, then the ends.
    pub pads: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Number of channel groups.
    pub group: usize,
    /// Size added at the end per spatial axis.
    pub output_padding: Vec<usize>,
}

impl Operator for ConvTranspose {
    const NAME: &'static str = "ConvTranspose";
    const VERSIONS: &'static [i64] = &[1, 11, 22];
    const INPUTS: (usize, usize) = (2, 3);
    const SINCE: i64 = 1;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let stated = node.sizes("output_shape")?;
        let upper = match node.text("auto_pad")? {
            Some("SAME_UPPER") => Some(true),
            Some("SAME_LOWER") => Some(false),
            _ => None,
        };
        let group = super::group(node)?;
        let kernel = node
            .shape(1)
            .and_then(|w| w.get(2..)?.iter().map(Dim::known).collect());
        let window = match (&stated, upper) {
            (None, None) => window::parse(node, kernel)?,
            _ => window::explicit(node, kernel)?,
        };
        let Some(mut window) = window else {
            return Ok(None);
        };
        let n = window.kernel.len();
        let mut output_padding = node.sizes("output_padding")?.unwrap_or_else(|| vec![0; n]);
        if output_padding.len() != n {
            return Err(node.malformed(format!("attribute 'output_padding' is {output_padding:?}")));
        }
        if stated.is_some() || upper.is_some() {
            let stated = stated
                .as_ref()
                .and_then(|s| s.get(s.len().checked_sub(n)?..));
            let sizes = node.shape(0).and_then(|s| s.get(2..));
            for i in 0..n {
                let size = sizes.and_then(|s| s.get(i)?.known());
                let aim = stated.map(|s| s[i]).zip(size);
                let Some((cut, added)) = padding(&window, i, output_padding[i], aim, upper) else {
                    return Ok(None);
                };
                (window.pads[i], window.pads[n + i]) = cut;
                output_padding[i] = added;
            }
        }
        let Window {
            kernel,
            strides,
            pads,
            dilations,
        } = window;
        Ok(Some(Self {
            kernel,
            strides,
            pads,
            dilations,
            group,
            output_padding,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        window::emit(out, &self.kernel, &self.strides, &self.pads);
        out.sizes("dilations", &self.dilations);
        out.int("group", self.group as i64);
        out.sizes("output_padding", &self.output_padding);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let n = self.kernel.len();
        if self.strides.len() != n
            || self.dilations.len() != n
            || self.output_padding.len() != n
            || self.pads.len() != 2 * n
        {
            return Err(format!("attributes do not agree on {n} spatial axes"));
        }
        let x = facts.ranked(0, n + 2, "the input")?;
        let Some(w) = facts.ranked(1, n + 2, "the weight")? else {
            return one(None);
        };
        let Dim::Known(per_group) = w[1] else {
            return one(None);
        };
        let channels = per_group
            .checked_mul(self.group)
            .ok_or("too many output channels")?;
        if let Some(Dim::Known(b)) = facts.ranked(2, 1, "the bias")?.map(|b| &b[0])
            && *b != channels
        {
            return Err(format!("a bias of {b} for {channels} output channels"));
        }
        let Some(x) = x else {
            return one(Some(open_shape(facts, channels, n + 2)));
        };
        if let (Dim::Known(c), Dim::Known(wc)) = (&x[1], &w[0])
            && (c != wc || !c.is_multiple_of(self.group.max(1)))
        {
            return Err(format!(
                "{c} input channels in {} groups, the weight is {w:?}",
                self.group
            ));
        }
        let mut out = vec![x[0].clone(), Dim::Known(channels)];
        for (i, dim) in x[2..].iter().enumerate() {
            out.push(self.spatial(i, dim)?);
        }
        one(Some(out))
    }
}

/// The sizes cut from both ends of axis `i`, and that added at its end, so that the output has a
/// stated size, given as `(output, input)`, or else the input's size times the stride.
fn padding(
    window: &Window,
    i: usize,
    output_padding: usize,
    stated: Option<(usize, usize)>,
    upper: Option<bool>,
) -> Option<((usize, usize), usize)> {
    let stride = window.strides[i];
    let grown =
        window::extent(window.kernel[i], window.dilations[i])?.checked_add(output_padding)?;
    // Both without the steps between the first and the last input.
    let (whole, aim) = match (stated, upper) {
        (Some((output, input)), _) => {
            let steps = input.checked_sub(1)?.checked_mul(stride)?;
            (steps.checked_add(grown)?, output)
        }
        (None, Some(_)) => (grown, stride),
        (None, None) => return None,
    };
    if whole < aim {
        // ONNX Runtime does not enlarge the output for SAME padding, other than the specification.
        stated?;
        let added = output_padding.checked_add(aim - whole)?;
        return (added < stride).then_some(((0, 0), added));
    }
    let cut = whole - aim;
    let (small, large) = (cut / 2, cut - cut / 2);
    let cut = if upper == Some(true) {
        (small, large)
    } else {
        (large, small)
    };
    Some((cut, output_padding))
}

impl ConvTranspose {
    fn spatial(&self, i: usize, dim: &Dim) -> Result<Dim, String> {
        let cut = self.pads[i]
            .checked_add(self.pads[self.kernel.len() + i])
            .ok_or("the padding is too large")?;
        let grown = window::extent(self.kernel[i], self.dilations[i])
            .and_then(|r| r.checked_add(self.output_padding[i]))
            .ok_or("the kernel is too large")?;
        match dim {
            Dim::Known(0) => Err("an empty input".into()),
            Dim::Known(size) => (size - 1)
                .checked_mul(self.strides[i])
                .and_then(|s| s.checked_add(grown))
                .and_then(|s| s.checked_sub(cut))
                .map(Dim::Known)
                .ok_or_else(|| format!("padding of {cut} leaves nothing of spatial axis {i}")),
            Dim::Symbol(s) => Ok(Dim::Symbol(format!(
                "({s}-1)*{}+{grown}-{cut}",
                self.strides[i]
            ))),
        }
    }
}
