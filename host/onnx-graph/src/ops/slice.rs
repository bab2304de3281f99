//! [Slice](https://onnx.ai/onnx/operators/onnx__Slice.html); the bounds, attributes before opset
//! 10 and inputs since, are resolved into the operator if they are constant.

use ndarray::Axis;

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::GraphError;
use crate::dims;
use crate::fold::{Array, Fold, Operands, each};
use crate::value::{Dim, Shape};

/// A range of some axes. All lists are as long as `starts`; `axes` and `steps` may be empty,
/// meaning the first axes and steps of 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// First index per axis; negative counts from the end.
    pub starts: Vec<i64>,
    /// Index behind the last; beyond the size means to the end.
    pub ends: Vec<i64>,
    /// The axes; negative counts from the end.
    pub axes: Vec<i64>,
    /// Steps, never 0.
    pub steps: Vec<i64>,
}

/// First index, step and number of the elements that `start..end` by `step` takes from an axis of
/// `size`.
fn range(start: i64, end: i64, step: i64, size: usize) -> Result<(i64, i64, usize), String> {
    let size = i64::try_from(size).map_err(|e| e.to_string())?;
    let from_end = |x: i64| if x < 0 { x.saturating_add(size) } else { x };
    let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
    let start = from_end(start).clamp(low.max(0), high.max(0));
    // When stepping backwards, the least integers mean "past the first element".
    let end = from_end(end).clamp(low, high);
    let span = if step > 0 { end - start } else { start - end };
    if size == 0 || span <= 0 {
        return Ok((start, step, 0));
    }
    let count = span.unsigned_abs().div_ceil(step.unsigned_abs());
    Ok((
        start,
        step,
        usize::try_from(count).map_err(|e| e.to_string())?,
    ))
}

impl Slice {
    /// Returns the axis of entry `i` in a value of `rank` dimensions, if it is in range.
    #[must_use]
    pub fn axis(&self, i: usize, rank: usize) -> Option<usize> {
        let axis = if self.axes.is_empty() {
            i as i64
        } else {
            *self.axes.get(i)?
        };
        dims::axis(axis, rank).ok()
    }

    /// Returns the first index, the step and the number of what entry `i` takes from an axis of
    /// `size`.
    #[must_use]
    pub fn taken(&self, i: usize, size: usize) -> Option<(i64, i64, usize)> {
        let step = self.steps.get(i).copied().unwrap_or(1);
        range(*self.starts.get(i)?, *self.ends.get(i)?, step, size).ok()
    }

    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let rank = x.dims().len();
        let mut parts = vec![ndarray::Slice::from(..); rank];
        let mut backwards = Vec::new();
        for i in 0..self.starts.len() {
            let axis = self.axis(i, rank)?;
            let step = self.steps.get(i).copied().unwrap_or(1);
            let size = x.dims()[axis];
            let (start, step, count) = range(self.starts[i], self.ends[i], step, size).ok()?;
            // ndarray walks a negative step from the end of the range, ONNX from its start.
            let walked = i64::try_from(count.saturating_sub(1)).ok()?;
            let last = step.checked_mul(walked)?.checked_add(start)?;
            let (low, high) = if count == 0 {
                (0, 0)
            } else {
                (start.min(last), start.max(last) + 1)
            };
            if step < 0 {
                backwards.push(axis);
            }
            parts[axis] = ndarray::Slice {
                start: isize::try_from(low).ok()?,
                end: Some(isize::try_from(high).ok()?),
                step: isize::try_from(step.unsigned_abs()).ok()?,
            };
        }
        Some(each!(x, x => {
            let mut part = x.slice_each_axis(|axis| parts[axis.axis.index()]);
            for &axis in &backwards {
                part.invert_axis(Axis(axis));
            }
            part.to_owned()
        }))
    }
}

impl Operator for Slice {
    const NAME: &'static str = "Slice";
    const VERSIONS: &'static [i64] = &[1, 10, 11, 13];
    const INPUTS: (usize, usize) = (1, 1);
    const SINCE: i64 = 10;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let mut lists: [Option<Vec<i64>>; 4] = [None, None, None, None];
        if node.opset < 10 {
            for (list, name) in lists.iter_mut().zip(["starts", "ends", "axes"]) {
                *list = node.ints(name)?;
            }
        } else {
            for (i, list) in lists.iter_mut().enumerate() {
                match node.int_input(i + 1) {
                    Input::Absent => {}
                    Input::Known(v) => *list = Some(v),
                    Input::Dynamic => return Ok(None),
                }
            }
        }
        let [starts, ends, axes, steps] = lists;
        let (Some(starts), Some(ends)) = (starts, ends) else {
            return Err(node.malformed("starts or ends are missing"));
        };
        let n = starts.len();
        let axes = axes.unwrap_or_else(|| (0..n as i64).collect());
        let steps = steps.unwrap_or_else(|| vec![1; n]);
        if ends.len() != n || axes.len() != n || steps.len() != n || steps.contains(&0) {
            return Err(node.malformed("starts, ends, axes and steps do not fit together"));
        }
        node.keep_inputs(1);
        Ok(Some(Self {
            starts,
            ends,
            axes,
            steps,
        }))
    }

    fn emit(&self, out: &mut Emission) {
        let n = self.starts.len();
        out.ints_input("starts", &self.starts);
        out.ints_input("ends", &self.ends);
        let first: Vec<i64> = (0..n as i64).collect();
        out.ints_input(
            "axes",
            if self.axes.is_empty() {
                &first
            } else {
                &self.axes
            },
        );
        let ones = vec![1; n];
        out.ints_input(
            "steps",
            if self.steps.is_empty() {
                &ones
            } else {
                &self.steps
            },
        );
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        let n = self.starts.len();
        let fits = |len: usize| len == 0 || len == n;
        if self.ends.len() != n || !fits(self.axes.len()) || !fits(self.steps.len()) {
            return Err("starts, ends, axes and steps do not fit together".into());
        }
        let mut out = x.to_vec();
        let mut sliced = Vec::with_capacity(n.min(x.len()));
        for i in 0..n {
            let axis = self
                .axis(i, x.len())
                .ok_or_else(|| format!("entry {i} names no axis of {x:?}"))?;
            if sliced.contains(&axis) {
                return Err(format!("axis {axis} is sliced twice"));
            }
            sliced.push(axis);
            let step = self.steps.get(i).copied().unwrap_or(1);
            if step == 0 {
                return Err("a step of 0".into());
            }
            out[axis] = match &x[axis] {
                Dim::Known(size) => Dim::Known(range(self.starts[i], self.ends[i], step, *size)?.2),
                // The whole axis, in the form that exporters write.
                Dim::Symbol(s)
                    if self.starts[i] == 0 && step == 1 && self.ends[i] >= i64::from(i32::MAX) =>
                {
                    Dim::Symbol(s.clone())
                }
                Dim::Symbol(s) => {
                    Dim::Symbol(format!("{s}[{}:{}:{step}]", self.starts[i], self.ends[i]))
                }
            };
        }
        one(Some(out))
    }
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_follow_python() {
        for (case, want) in [
            ((0, i64::MAX, 1, 5), (0, 1, 5)),
            ((1, -1, 2, 6), (1, 2, 2)),
            ((-1, i64::MIN, -1, 4), (3, -1, 4)),
            ((4, 2, 1, 5), (4, 1, 0)),
            ((0, 5, 1, 0), (0, 1, 0)),
            ((i64::MIN, i64::MAX, i64::MAX, 3), (0, i64::MAX, 1)),
            ((0, -2, -1, 3), (0, -1, 0)),
        ] {
            let (start, end, step, size) = case;
            assert_eq!(range(start, end, step, size), Ok(want), "{case:?}");
        }
    }
}
