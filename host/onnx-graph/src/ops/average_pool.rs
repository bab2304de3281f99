//! [AveragePool](https://onnx.ai/onnx/operators/onnx__AveragePool.html) without dilations.

use super::context::{Emission, Facts, Operator, Parsing, one};
use super::window::{self, Window};
use crate::GraphError;
use crate::value::Shape;

/// The mean of a sliding window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AveragePool {
    /// Window size per spatial axis.
    pub kernel: Vec<usize>,
    /// Stride per spatial axis.
    pub strides: Vec<usize>,
    /// Padding: the begins of all spatial axes, then the ends.
    pub pads: Vec<usize>,
    /// Whether a last window that is not full counts.
    pub ceil_mode: bool,
    /// Whether padding counts as zeros in the mean.
    pub count_include_pad: bool,
}

impl Operator for AveragePool {
    const NAME: &'static str = "AveragePool";
    const VERSIONS: &'static [i64] = &[1, 7, 10, 11, 19, 22];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 7;

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        if self.ceil_mode { 10 } else { Self::SINCE }
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let ceil_mode = node.flag("ceil_mode", false)?;
        let count_include_pad = node.flag("count_include_pad", false)?;
        let Some(Window {
            kernel,
            strides,
            pads,
            dilations,
        }) = window::parse(node, None)?
        else {
            return Ok(None);
        };
        if dilations.iter().any(|&d| d != 1) {
            return Ok(None);
        }
        Ok(Some(Self {
            kernel,
            strides,
            pads,
            ceil_mode,
            count_include_pad,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        window::emit(out, &self.kernel, &self.strides, &self.pads);
        if out.opset >= 10 {
            out.int("ceil_mode", i64::from(self.ceil_mode));
        }
        out.int("count_include_pad", i64::from(self.count_include_pad));
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.ranked(0, self.kernel.len() + 2, "the input")? else {
            return one(None);
        };
        let window = Window {
            kernel: self.kernel.clone(),
            strides: self.strides.clone(),
            pads: self.pads.clone(),
            dilations: vec![1; self.kernel.len()],
        };
        let mut out = x[..2].to_vec();
        out.extend(window::slide(&x[2..], &window, self.ceil_mode)?);
        one(Some(out))
    }
}
