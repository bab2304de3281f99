//! The common part of reductions; the axes, an attribute in older operator sets and an input in
//! newer ones, are resolved into the operator.

use super::context::{Facts, Input, Parsing, one};
use ndarray::{ArrayD, IxDyn};

use crate::GraphError;
use crate::dims;
use crate::fold::{Array, Operands, Runs, strides, volume};
use crate::value::{Dim, Shape};

/// Axes (empty means all) and whether they stay; `None` if they are unknown or there is nothing
/// to reduce.
pub(super) fn parse(node: &mut Parsing<'_>) -> Result<Option<(Vec<i64>, bool)>, GraphError> {
    let keepdims = node.flag("keepdims", true)?;
    let empty_means_none = node.flag("noop_with_empty_axes", false)?;
    let axes = match node.ints("axes")? {
        Some(axes) => axes,
        None => match node.int_input(1) {
            Input::Absent => Vec::new(),
            Input::Known(axes) => axes,
            Input::Dynamic => return Ok(None),
        },
    };
    if empty_means_none && axes.is_empty() {
        return Ok(None);
    }
    node.keep_inputs(1);
    Ok(Some((axes, keepdims)))
}

/// Ascending positions of the axes in a value of `rank` dimensions, if they are in range.
pub(super) fn axes(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    if axes.is_empty() {
        Some((0..rank).collect())
    } else {
        dims::axes(axes, rank).ok()
    }
}

pub(super) fn shapes(
    axes: &[i64],
    keepdims: bool,
    facts: &Facts<'_>,
) -> Result<Vec<Option<Shape>>, String> {
    let Some(x) = facts.shape(0) else {
        return one(None);
    };
    let axes = if axes.is_empty() {
        (0..x.len()).collect()
    } else {
        dims::axes(axes, x.len())?
    };
    let kept = x
        .iter()
        .enumerate()
        .filter_map(|(i, d)| match (axes.contains(&i), keepdims) {
            (false, _) => Some(d.clone()),
            (true, true) => Some(Dim::Known(1)),
            (true, false) => None,
        });
    one(Some(kept.collect()))
}

/// How a reduction combines elements.
#[derive(Clone, Copy)]
pub(super) struct Reducing {
    pub first: f64,
    pub add: fn(f64, f64) -> f64,
    /// The result of what was added up and the number of elements.
    pub last: fn(f64, f64) -> f64,
}

impl Reducing {
    /// The result over a constant of floats.
    pub fn fold(&self, axes: &[usize], keepdims: bool, operands: &Operands<'_>) -> Option<Array> {
        let (dims, x) = operands.slice(0)?;
        let reduced = |i: &usize| axes.contains(i);
        let kept: Vec<usize> = (0..dims.len())
            .map(|i| if reduced(&i) { 1 } else { dims[i] })
            .collect();
        let count = volume(&kept, operands.limit)?;
        let own = strides(&kept);
        let steps: Vec<usize> = (0..dims.len())
            .map(|i| if reduced(&i) { 0 } else { own[i] })
            .collect();
        let mut sums = vec![self.first; count];
        let add = self.add;
        Runs::new(dims, [&strides(dims), &steps]).each(|[from, to], length, [_, step]| {
            let run = x[from..][..length].iter().map(|&v| f64::from(v));
            if step == 0 {
                sums[to] = run.fold(sums[to], add);
            } else {
                run.enumerate().for_each(|(i, v)| {
                    let sum = &mut sums[to + i * step];
                    *sum = add(*sum, v);
                });
            }
        });
        let share = (x.len() / count.max(1)) as f64;
        let results = sums.into_iter().map(|v| (self.last)(v, share) as f32);
        let shape: Vec<usize> = match keepdims {
            true => kept,
            false => (0..dims.len())
                .filter(|i| !reduced(i))
                .map(|i| dims[i])
                .collect(),
        };
        Some(Array::Floats(
            ArrayD::from_shape_vec(IxDyn(&shape), results.collect()).ok()?,
        ))
    }
}

/// Defines a reduction over axes. They are an input since the operator set `$since`, an attribute
/// before.
macro_rules! reduction {
    ($(#[$doc:meta])* $name:ident $versions:expr, axes are an input since $since:literal, $reducing:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            /// Axes; negative counts from the end; empty means all.
            pub axes: Vec<i64>,
            /// Whether the axes stay, with size 1.
            pub keepdims: bool,
        }

        impl $name {
            /// Returns the ascending positions of the axes in a value of `rank` dimensions, if
            /// they are in range.
            #[must_use]
            pub fn axes(&self, rank: usize) -> Option<Vec<usize>> {
                $crate::ops::reduce::axes(&self.axes, rank)
            }
        }

        impl $crate::ops::Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &$versions;
            const INPUTS: (usize, usize) = (1, 1);
            const SINCE: i64 = 1;
            const FOLD: $crate::fold::Fold<Self> = $crate::fold::Fold::Elements(|op, operands| {
                let axes = op.axes(operands.slice(0)?.0.len())?;
                $reducing.fold(&axes, op.keepdims, operands)
            });

            fn since(&self, _facts: &$crate::ops::Facts<'_>) -> i64 {
                $crate::ops::context::since_axes(Self::SINCE, &self.axes)
            }

            fn parse(node: &mut $crate::ops::Parsing<'_>) -> Result<Option<Self>, $crate::GraphError> {
                Ok($crate::ops::reduce::parse(node)?.map(|(axes, keepdims)| Self { axes, keepdims }))
            }

            fn emit(&self, out: &mut $crate::ops::Emission) {
                out.int("keepdims", i64::from(self.keepdims));
                if self.axes.is_empty() {
                    return;
                }
                if out.opset >= $since {
                    out.ints_input("axes", &self.axes);
                } else {
                    out.ints("axes", &self.axes);
                }
            }

            fn shapes(
                &self,
                facts: &$crate::ops::Facts<'_>,
            ) -> Result<Vec<Option<$crate::value::Shape>>, String> {
                $crate::ops::reduce::shapes(&self.axes, self.keepdims, facts)
            }
        }
    };
}

pub(super) use reduction;

pub(super) const SUM: Reducing = Reducing {
    first: 0.0,
    add: |sum, v| sum + v,
    last: |sum, _| sum,
};
