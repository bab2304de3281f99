//! [Pad](https://onnx.ai/onnx/operators/onnx__Pad.html); pads and value, attributes before opset
//! 11 and inputs since, are resolved into the operator, for all axes.

use ndarray::{ArrayD, AxisDescription, IxDyn, Slice};

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::dims;
use crate::fold::{Array, Fold, Operands, volume};
use crate::value::{Dim, Shape};
use crate::{DType, GraphError, TensorData};

/// Contents of the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PadMode {
    /// One value.
    #[default]
    Constant,
    /// The values mirrored at the edge, without repeating the edge itself.
    Reflect,
    /// The edge repeated.
    Edge,
}

/// Padding before and after each axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// The begins of all axes, then the ends; negative cuts.
    pub pads: Vec<i64>,
    /// Contents of the padding.
    pub mode: PadMode,
    /// The value of [`PadMode::Constant`], in the type of the input.
    pub value: f32,
}

impl Pad {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?.floats()?;
        let rank = x.ndim();
        let known = self.pads.iter().map(|&pad| usize::try_from(pad).ok());
        let pads: Vec<usize> = known.collect::<Option<_>>()?;
        if self.mode != PadMode::Constant || pads.len() != 2 * rank {
            return None;
        }
        let padded = |(axis, &size): (usize, &usize)| {
            size.checked_add(pads[axis])?.checked_add(pads[rank + axis])
        };
        let sizes = x.shape().iter().enumerate().map(padded);
        let sizes: Vec<usize> = sizes.collect::<Option<_>>()?;
        volume(&sizes, operands.limit)?;
        let mut whole = ArrayD::from_elem(IxDyn(&sizes), self.value);
        let inner = |axis: AxisDescription| {
            let at = axis.axis.index();
            Slice::from(pads[at]..pads[at] + x.shape()[at])
        };
        whole.slice_each_axis_mut(inner).assign(&x);
        Some(Array::Floats(whole))
    }
}

impl Operator for Pad {
    const NAME: &'static str = "Pad";
    const VERSIONS: &'static [i64] = &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 2;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let mode = match node.text("mode")?.unwrap_or("constant") {
            "constant" => PadMode::Constant,
            "reflect" => PadMode::Reflect,
            "edge" => PadMode::Edge,
            _ => return Ok(None),
        };
        let (pads, value, axes) = if node.opset < 11 {
            let Some(pads) = node.ints("pads")? else {
                return Ok(None);
            };
            (pads, node.float("value", 0.0)?, None)
        } else {
            let Input::Known(pads) = node.int_input(1) else {
                return Ok(None);
            };
            let value = match node.number_input(2) {
                Input::Absent => 0.0,
                Input::Known(v) => v,
                Input::Dynamic => return Ok(None),
            };
            let axes = match node.int_input(3) {
                Input::Absent => None,
                Input::Known(axes) => Some(axes),
                Input::Dynamic => return Ok(None),
            };
            (pads, value, axes)
        };
        let pads = match axes {
            None => pads,
            Some(axes) => {
                let Some(rank) = node.shape(0).map(<[Dim]>::len) else {
                    return Ok(None);
                };
                let n = axes.len();
                if pads.len() != 2 * n {
                    return Err(node.malformed(format!("{} pads for {n} axes", pads.len())));
                }
                let mut full = vec![0; 2 * rank];
                for (i, &axis) in axes.iter().enumerate() {
                    let at = dims::axis(axis, rank).map_err(|reason| node.malformed(reason))?;
                    (full[at], full[rank + at]) = (pads[i], pads[n + i]);
                }
                full
            }
        };
        node.keep_inputs(1);
        Ok(Some(Self {
            pads,
            mode,
            value: if mode == PadMode::Constant {
                value
            } else {
                0.0
            },
        }))
    }

    fn emit(&self, out: &mut Emission) {
        let mode = match self.mode {
            PadMode::Constant => "constant",
            PadMode::Reflect => "reflect",
            PadMode::Edge => "edge",
        };
        out.text("mode", mode);
        if out.opset < 11 {
            out.ints("pads", &self.pads);
            out.float("value", self.value);
            return;
        }
        out.ints_input("pads", &self.pads);
        if self.mode == PadMode::Constant && self.value.to_bits() != 0 {
            // The value has the type of the input.
            match out.dtype {
                Some(DType::U8) => {
                    out.scalar_input("value", TensorData::U8(vec![self.value as u8]))
                }
                Some(DType::I8) => {
                    out.scalar_input("value", TensorData::I8(vec![self.value as i8]))
                }
                _ => out.float_input("value", Some(self.value)),
            }
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let rank = x.len();
        if self.pads.len() != 2 * rank {
            return Err(format!("{} pads for {rank} axes", self.pads.len()));
        }
        let padded = |(i, dim): (usize, &Dim)| {
            let by = self.pads[i]
                .checked_add(self.pads[rank + i])
                .ok_or("the padding is too large")?;
            match dim {
                Dim::Known(n) => i64::try_from(*n)
                    .ok()
                    .and_then(|n| n.checked_add(by))
                    .and_then(|n| usize::try_from(n).ok())
                    .map(Dim::Known)
                    .ok_or_else(|| format!("padding by {by} does not fit axis {i} of {n}")),
                Dim::Symbol(s) if by == 0 => Ok(Dim::Symbol(s.clone())),
                Dim::Symbol(s) => Ok(Dim::Symbol(format!("{s}+{by}"))),
            }
        };
        one(Some(
            x.iter().enumerate().map(padded).collect::<Result<_, _>>()?,
        ))
    }
}
