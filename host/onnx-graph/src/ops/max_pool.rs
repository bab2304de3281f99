//! [MaxPool](https://onnx.ai/onnx/operators/onnx__MaxPool.html) without indices.

use super::context::{Emission, Facts, Operator, Parsing, one};
use super::window::{self, Window};
use crate::GraphError;
use crate::value::Shape;

/// The maximum of a sliding window, without the padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaxPool {
    /// Window size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Padding: the begins of all spatial axes, then the ends.
    pub pads: Vec<usize>,
    /// Dilation per spatial axis.
    pub dilations: Vec<usize>,
    /// Whether a last window that is not full counts.
    pub ceil_mode: bool,
}

impl Operator for MaxPool {
    const NAME: &'static str = "MaxPool";
    const VERSIONS: &'static [i64] = &[1, 8, 10, 11, 12, 22];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        let dilated = self.dilations.iter().any(|&d| d != 1);
        if self.ceil_mode || dilated {
            10
        } else {
            Self::SINCE
        }
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let ceil_mode = node.flag("ceil_mode", false)?;
        if node.flag("storage_order", false)? || !node.only_first_output() {
            return Ok(None);
        }
        let Some(Window {
            kernel,
            strides,
            pads,
            dilations,
        }) = window::parse(node, None)?
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            kernel,
            strides,
            pads,
            dilations,
            ceil_mode,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        window::emit(out, &self.kernel, &self.strides, &self.pads);
        if out.opset >= 10 {
            out.sizes("dilations", &self.dilations);
            out.int("ceil_mode", i64::from(self.ceil_mode));
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.ranked(0, self.kernel.len() + 2, "the input")? else {
            return one(None);
        };
        let window = Window {
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            pads: self.pads.clone(),
            dilations: self.dilations.clone(),
        };
        let mut out = x[..2].to_vec();
        out.extend(window::slide(&x[2..], &window, self.ceil_mode)?);
        one(Some(out))
    }
}
