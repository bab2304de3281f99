//! Further functions of every element alone, such as
//! [Abs](https://onnx.ai/onnx/operators/onnx__Abs.html) and
//! [Elu](https://onnx.ai/onnx/operators/onnx__Elu.html).
//!
//! Nodes over constants and integers stay opaque: they are folded there.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::value::Shape;

/// Defines the operators of a table: the operator sets with a version of each, the one from which
/// on it is written, and float attributes with their defaults.
macro_rules! elementwise {
    ($($(#[$doc:meta])* $name:ident $versions:expr, since $since:literal {
        $($(#[$field_doc:meta])* $field:ident = $default:literal,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: f32,)*
        }

        impl Default for $name {
            /// The defaults of ONNX.
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &$versions;
            const INPUTS: (usize, usize) = (1, 1);
            const SINCE: i64 = $since;

            fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                let op = Self { $($field: node.float(stringify!($field), $default)?,)* };
                Ok(node.is_activation().then_some(op))
            }

            fn emit(&self, _out: &mut Emission) {
                $(_out.float(stringify!($field), self.$field);)*
            }

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                same(facts)
            }
        }
    )*};
}

elementwise! {
    /// The magnitude.
    Abs [1, 6, 13], since 6 {}
    /// Arc cosine.
    Acos [7, 22], since 7 {}
    /// Inverse hyperbolic cosine.
    Acosh [9, 22], since 9 {}
    /// Arc sine.
    Asin [7, 22], since 7 {}
    /// Inverse hyperbolic sine.
    Asinh [9, 22], since 9 {}
    /// Arc tangent.
    Atan [7, 22], since 7 {}
    /// Inverse hyperbolic tangent.
    Atanh [9, 22], since 9 {}
    /// The least integer that is not below `x`.
    Ceil [1, 6, 13], since 6 {}
    /// `x` where it is positive, `alpha * (e^(x / alpha) - 1)` elsewhere.
    Celu [12], since 12 {
        /// Magnitude of the limit below.
        alpha = 1.0,
    }
    /// Cosine.
    Cos [7, 22], since 7 {}
    /// Hyperbolic cosine.
    Cosh [9, 22], since 9 {}
    /// `x` where it is positive, `alpha * (e^x - 1)` elsewhere.
    Elu [1, 6, 22], since 6 {
        /// Magnitude of the limit below.
        alpha = 1.0,
    }
    /// The greatest integer that is not above `x`.
    Floor [1, 6, 13], since 6 {}
    /// `max(0, min(1, alpha * x + beta))`.
    HardSigmoid [1, 6, 22], since 6 {
        /// Slope.
        alpha = 0.2,
        /// Value at zero.
        beta = 0.5,
    }
    /// `x` where it is positive, `alpha * x` elsewhere.
    LeakyRelu [1, 6, 16], since 6 {
        /// Slope of the negative half.
        alpha = 0.01,
    }
    /// Natural logarithm.
    Log [1, 6, 13], since 6 {}
    /// `x * tanh(ln(1 + e^x))`.
    Mish [18, 22], since 18 {}
    /// `-x`.
    Neg [1, 6, 13], since 6 {}
    /// `1 / x`.
    Reciprocal [1, 6, 13], since 6 {}
    /// The nearest integer, the even one of two.
    Round [11, 22], since 11 {}
    /// `gamma * x` where it is positive, `gamma * alpha * (e^x - 1)` elsewhere.
    Selu [1, 6, 22], since 6 {
        /// Magnitude of the limit below, before the scale.
        alpha = 1.673_263_2,
        /// Scale.
        gamma = 1.050_701,
    }
    /// -1, 0 or 1.
    Sign [9, 13], since 9 {}
    /// Sine.
    Sin [7, 22], since 7 {}
    /// Hyperbolic sine.
    Sinh [9, 22], since 9 {}
    /// `ln(1 + e^x)`.
    Softplus [1, 22], since 1 {}
    /// `x / (1 + |x|)`.
    Softsign [1, 22], since 1 {}
    /// `x / (1 + e^(-alpha * x))`.
    Swish [24], since 24 {
        /// Slope of the sigmoid.
        alpha = 1.0,
    }
    /// Tangent.
    Tan [7, 22], since 7 {}
    /// `x` where it is above `alpha`, 0 elsewhere.
    ThresholdedRelu [10, 22], since 10 {
        /// The threshold.
        alpha = 1.0,
    }
}
