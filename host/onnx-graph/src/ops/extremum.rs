//! [Max](https://onnx.ai/onnx/operators/onnx__Max.html) and
//! [Min](https://onnx.ai/onnx/operators/onnx__Min.html) of two operands in floats that broadcast
//! against each other. Nodes with more are read as a chain of these. Nodes over constants and
//! integers stay opaque: they are folded there.

use super::context::{Emission, Facts, Operator, Parsing, broadcast_two};
use crate::value::Shape;
use crate::{DType, GraphError};

macro_rules! extremum {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &[1, 6, 8, 12, 13];
            const INPUTS: (usize, usize) = (2, 2);
            const SINCE: i64 = 8;

            fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                let floats = (0..2).all(|i| node.dtype(i) == Some(DType::F32));
                let constant = (0..2).all(|i| node.constant(i).is_some());
                let two = node.inputs.len() == 2;
                Ok((two && floats && !constant).then_some(Self))
            }

            fn emit(&self, _out: &mut Emission) {}

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                broadcast_two(facts)
            }
        }
    )*};
}

extremum! {
    /// The greater of two.
    Max;
    /// The lesser of two.
    Min;
}
