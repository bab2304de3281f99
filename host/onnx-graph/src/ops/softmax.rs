//! [Softmax](https://onnx.ai/onnx/operators/onnx__Softmax.html) and
//! [LogSoftmax](https://onnx.ai/onnx/operators/onnx__LogSoftmax.html).
//!
//! Before opset 13 they normalise over all axes from `axis` on. Such a node is read only if the
//! axes behind `axis` have size 1, where both forms agree.

use ndarray::{ArrayViewMut1, Axis};

use super::context::{Emission, Facts, Operator, Parsing, same, since_axes};
use crate::GraphError;
use crate::dims;
use crate::fold::{Array, Fold};
use crate::value::{Dim, Shape};

/// The operator set in which `axis` came to mean one axis.
const SINGLE_AXIS: i64 = 13;

/// Whether `axis` is in range and all axes behind it have size 1.
fn is_innermost(axis: i64, shape: &[Dim]) -> bool {
    dims::axis(axis, shape.len())
        .is_ok_and(|at| shape[at + 1..].iter().all(|d| *d == Dim::Known(1)))
}

/// Subtracts the greatest element, so that no exponential is too large, and returns the sum of the
/// exponentials.
fn lowered(lane: &mut ArrayViewMut1<'_, f32>) -> f32 {
    let greatest = lane.fold(f32::NEG_INFINITY, |most, &v| most.max(v));
    lane.mapv_inplace(|v| v - greatest);
    lane.iter().map(|v| v.exp()).sum()
}

/// Defines operators that normalise along one axis.
macro_rules! softmax {
    ($($(#[$doc:meta])* $name:ident, $lane:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name {
            /// The axis; negative counts from the end.
            pub axis: i64,
        }

        impl $name {
            /// Returns the position of the axis in a value of `rank` dimensions, if it is in
            /// range.
            #[must_use]
            pub fn axis(&self, rank: usize) -> Option<usize> {
                dims::axis(self.axis, rank).ok()
            }
        }

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &[1, 11, 13];
            const INPUTS: (usize, usize) = (1, 1);
            const SINCE: i64 = 1;
            const FOLD: Fold<Self> = Fold::Elements(|op, x| {
                let mut x = x.floats(0)?;
                let axis = op.axis(x.ndim())?;
                x.lanes_mut(Axis(axis)).into_iter().for_each($lane);
                Some(Array::Floats(x))
            });

            fn since(&self, facts: &Facts<'_>) -> i64 {
                match facts.shape(0) {
                    Some(shape) if is_innermost(self.axis, shape) => {
                        since_axes(Self::SINCE, &[self.axis])
                    }
                    _ => SINGLE_AXIS,
                }
            }

            fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                let single = node.opset >= SINGLE_AXIS;
                let axis = node.int("axis", if single { -1 } else { 1 })?;
                let agrees = |shape| is_innermost(axis, shape);
                Ok((single || node.shape(0).is_some_and(agrees)).then_some(Self { axis }))
            }

            fn emit(&self, out: &mut Emission) {
                out.int("axis", self.axis);
            }

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                if let Some(shape) = facts.shape(0) {
                    dims::axis(self.axis, shape.len())?;
                }
                same(facts)
            }
        }
    )*};
}

softmax! {
    /// `exp(x) / sum(exp(x))` along one axis.
    Softmax, |mut lane| {
        let sum = lowered(&mut lane);
        lane.mapv_inplace(|v| v.exp() / sum);
    };
    /// `log(softmax(x))` along one axis.
    LogSoftmax, |mut lane| {
        let sum = lowered(&mut lane);
        lane.mapv_inplace(|v| v - sum.ln());
    };
}
