//! The common part of reductions; the axes, an attribute in older operator sets and an input in
//! newer ones, are resolved into the operator.

use super::context::{Facts, Input, Parsing, one};
use crate::GraphError;
use crate::dims;
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

/// Defines a reduction over axes. They are an input since the operator set `$since`, an attribute
/// before.
macro_rules! reduction {
    ($(#[$doc:meta])* $name:ident $versions:expr, axes are an input since $since:literal, $fold:expr) => {
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
            const FOLD: $crate::fold::Fold<Self> = $fold;

            fn since(&self, _facts: &$crate::ops::Facts<'_>) -> i64 {
                $crate::ops::context::since_axes(Self::SINCE, &self.axes)
            }

            fn parse(node: &mut $crate::ops::Parsing<'_>) -> Result<Option<Self>, $crate::GraphError> {
                // Where it is not folded in its typed form, it is in its opaque one.
                if Self::FOLD.is_never() && !$crate::ops::elementwise::is_activation(node) {
                    return Ok(None);
                }
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
