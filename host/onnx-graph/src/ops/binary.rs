//! Arithmetic on two operands that broadcast against each other, such as
//! [Add](https://onnx.ai/onnx/operators/onnx__Add.html).

use super::context::{Emission, Facts, Operator, Parsing, broadcast_two};
use crate::GraphError;
use crate::fold::{Arithmetic, Element, Fold};
use crate::value::Shape;

/// Defines the operators of a table: how each combines floats, integers, and partly open sizes.
macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident: $floats:expr, $integers:expr, $sizes:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &[1, 6, 7, 13, 14];
            const INPUTS: (usize, usize) = (2, 2);
            const SINCE: i64 = 7;
            const FOLD: Fold<Self> = Fold::Elements(|_, operands| {
                let arithmetic = Arithmetic {
                    floats: Some($floats),
                    integers: $integers,
                    sizes: $sizes,
                };
                arithmetic.fold(operands)
            });

            fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                Ok(Some(Self))
            }

            fn emit(&self, _out: &mut Emission) {}

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                broadcast_two(facts)
            }
        }
    )*};
}

binary! {
    /// `a + b`.
    Add: |a, b| a + b, i64::checked_add, Element::plus;
    /// `a - b`.
    Sub: |a, b| a - b, i64::checked_sub, Element::minus;
    /// `a * b`.
    Mul: |a, b| a * b, i64::checked_mul, Element::times;
    /// `a / b`.
    Div: |a, b| a / b, i64::checked_div, Element::over;
}
