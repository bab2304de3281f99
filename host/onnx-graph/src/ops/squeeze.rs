//! [Squeeze](https://onnx.ai/onnx/operators/onnx__Squeeze.html) and
//! [Unsqueeze](https://onnx.ai/onnx/operators/onnx__Unsqueeze.html); the axes, an attribute
//! before opset 13 and an input since, are resolved into the operator.

use super::context::{Emission, Facts, Input, Operator, Parsing, one, since_axes};
use crate::GraphError;
use crate::dims;
use crate::fold::{Array, Fold, Operands};
use crate::value::{Dim, Shape};

/// The operator set in which the axes became an input.
const AXES_ARE_AN_INPUT: i64 = 13;

/// The axes of a node, from the attribute or the input.
fn axes(node: &mut Parsing<'_>) -> Result<Input<Vec<i64>>, GraphError> {
    Ok(match node.ints("axes")? {
        Some(axes) => Input::Known(axes),
        None => node.int_input(1),
    })
}

fn emit_axes(axes: &[i64], out: &mut Emission) {
    if out.opset < AXES_ARE_AN_INPUT {
        out.ints("axes", axes);
    } else {
        out.ints_input("axes", axes);
    }
}

/// Drops axes of size 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squeeze {
    /// The axes; negative counts from the end; empty means every axis of size 1.
    pub axes: Vec<i64>,
}

impl Squeeze {
    /// Returns the ascending positions of the stated axes in a value of `rank` dimensions, if
    /// they are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        dims::axes(&self.axes, rank).ok()
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let dropped = self.axes(x.dims().len())?;
        let kept = x.dims().iter().enumerate();
        let kept = kept.filter(|(i, _)| !dropped.contains(i));
        let dims: Vec<usize> = kept.map(|(_, &d)| d).collect();
        x.reshaped(&dims)
    }
}

impl Operator for Squeeze {
    const NAME: &'static str = "Squeeze";
    const VERSIONS: &'static [i64] = &[1, 11, 13, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &self.axes)
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let axes = match axes(node)? {
            Input::Dynamic => return Ok(None),
            Input::Known(axes) if !axes.is_empty() => axes,
            _ => match node.shape(0) {
                Some(x) => (0..x.len())
                    .filter(|&i| x[i] == Dim::Known(1))
                    .map(|i| i as i64)
                    .collect(),
                None => return Ok(None),
            },
        };
        node.keep_inputs(1);
        Ok(Some(Self { axes }))
    }

    fn emit(&self, out: &mut Emission) {
        if !self.axes.is_empty() {
            emit_axes(&self.axes, out);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let axes = if self.axes.is_empty() {
            (0..x.len()).filter(|&i| x[i] == Dim::Known(1)).collect()
        } else {
            dims::axes(&self.axes, x.len())?
        };
        if let Some(&bad) = axes.iter().find(|&&a| x[a].known().is_some_and(|n| n != 1)) {
            return Err(format!("axis {bad} of {x:?} is not 1"));
        }
        one(Some(
            x.iter()
                .enumerate()
                .filter(|(i, _)| !axes.contains(i))
                .map(|(_, d)| d.clone())
                .collect(),
        ))
    }
}

/// Inserts axes of size 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsqueeze {
    /// Positions of the new axes in the output; negative counts from its end.
    pub axes: Vec<i64>,
}

impl Unsqueeze {
    /// Returns the ascending positions of the new axes in an output of `rank` dimensions, if they
    /// are in range.
    #[must_use]
    pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
        dims::axes(&self.axes, rank).ok()
    }

    /// The dimensions of the output for those of the input.
    fn inserted<D: Clone>(&self, dims: &[D], one: D) -> Result<Vec<D>, String> {
        let rank = dims.len() + self.axes.len();
        let axes = dims::axes(&self.axes, rank)?;
        let mut rest = dims.iter().cloned();
        let dim = |i| {
            if axes.contains(&i) {
                Some(one.clone())
            } else {
                rest.next()
            }
        };
        Ok((0..rank).filter_map(dim).collect())
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let dims = self.inserted(x.dims(), 1).ok()?;
        x.reshaped(&dims)
    }
}

impl Operator for Unsqueeze {
    const NAME: &'static str = "Unsqueeze";
    const VERSIONS: &'static [i64] = &[1, 11, 13, 21, 23, 24, 25];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 1;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn since(&self, _facts: &Facts<'_>) -> i64 {
        since_axes(Self::SINCE, &self.axes)
    }

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let axes = match axes(node)? {
            Input::Known(axes) => axes,
            Input::Absent => return Err(node.malformed("the axes are missing")),
            Input::Dynamic => return Ok(None),
        };
        node.keep_inputs(1);
        Ok(Some(Self { axes }))
    }

    fn emit(&self, out: &mut Emission) {
        emit_axes(&self.axes, out);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        one(Some(self.inserted(x, Dim::Known(1))?))
    }
}
