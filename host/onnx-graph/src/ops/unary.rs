//! Functions of every element alone, such as
//! [Relu](https://onnx.ai/onnx/operators/onnx__Relu.html).

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::fold::Fold;
use crate::value::Shape;

/// Defines the operators of a table: the operator sets with a version of each, the one from which
/// on it is written, and how it is folded.
macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $versions:expr, since $since:literal, $fold:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &$versions;
            const INPUTS: (usize, usize) = (1, 1);
            const SINCE: i64 = $since;
            const FOLD: Fold<Self> = $fold;

            fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                Ok(Some(Self))
            }

            fn emit(&self, _out: &mut Emission) {}

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                same(facts)
            }
        }
    )*};
}

unary! {
    /// The error function.
    Erf [9, 13], since 9, Fold::Never;
    /// `e^x`.
    Exp [1, 6, 13], since 6, Fold::Elements(|_, x| x.map(f32::exp));
    /// `x * max(0, min(1, x / 6 + 1 / 2))`.
    HardSwish [14, 22], since 14, Fold::Never;
    /// The input, unchanged.
    Identity [1, 13, 14, 16, 19, 21, 23, 24, 25], since 1, Fold::Elements(|_, x| x.get(0));
    /// `max(0, x)`.
    Relu [1, 6, 13, 14], since 6, Fold::Elements(|_, x| x.map(|v| v.max(0.0)));
    /// `1 / (1 + e^-x)`.
    Sigmoid [1, 6, 13], since 6, Fold::Elements(|_, x| x.map(|v| 1.0 / (1.0 + (-v).exp())));
    /// Square root.
    Sqrt [1, 6, 13], since 6, Fold::Elements(|_, x| x.map(f32::sqrt));
    /// Hyperbolic tangent.
    Tanh [1, 6, 13], since 6, Fold::Elements(|_, x| x.map(f32::tanh));
}
