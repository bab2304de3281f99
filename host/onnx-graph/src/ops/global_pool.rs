//! Pooling over all positions, such as
//! [GlobalAveragePool](https://onnx.ai/onnx/operators/onnx__GlobalAveragePool.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::value::{Dim, Shape};

/// Defines poolings whose result has size 1 on every spatial axis.
macro_rules! global_pool {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct $name;

        impl Operator for $name {
            const NAME: &'static str = stringify!($name);
            const VERSIONS: &'static [i64] = &[1, 22];
            const INPUTS: (usize, usize) = (1, 1);
            const SINCE: i64 = 1;

            fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
                Ok(Some(Self))
            }

            fn emit(&self, _out: &mut Emission) {}

            fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
                pooled(facts)
            }
        }
    )*};
}

global_pool! {
    /// The mean over all spatial axes, which become 1.
    GlobalAveragePool;
    /// The maximum over all spatial axes, which become 1.
    GlobalMaxPool;
}

fn pooled(facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
    let Some(x) = facts.shape(0) else {
        return one(None);
    };
    if x.len() < 2 {
        return Err(format!("{x:?} has no channel axis"));
    }
    one(Some(
        x.iter()
            .enumerate()
            .map(|(i, d)| if i < 2 { d.clone() } else { Dim::Known(1) })
            .collect(),
    ))
}
