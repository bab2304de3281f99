//! [Where](https://onnx.ai/onnx/operators/onnx__Where.html).

use super::context::{Emission, Facts, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::fold::{Array, Fold, Operands, chosen};
use crate::value::Shape;

/// Each element of the second input where the first is true, else of the third; all are
/// broadcast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Where;

impl Where {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let (condition, limit) = (operands.get(0)?.flags()?, operands.limit);
        Some(match (operands.get(1)?, operands.get(2)?) {
            (Array::Floats(a), Array::Floats(b)) => {
                Array::Floats(chosen(&condition, &a, &b, limit)?)
            }
            (Array::Flags(a), Array::Flags(b)) => Array::Flags(chosen(&condition, &a, &b, limit)?),
            (Array::Ints(a, dtype), Array::Ints(b, _)) => {
                Array::Ints(chosen(&condition, &a, &b, limit)?, dtype)
            }
            (a, b) => {
                let dtype = a.integers()?;
                Array::Sizes(chosen(&condition, &a.sizes()?, &b.sizes()?, limit)?, dtype)
            }
        })
    }
}

impl Operator for Where {
    const NAME: &'static str = "Where";
    const VERSIONS: &'static [i64] = &[9, 16];
    const INPUTS: (usize, usize) = (3, 3);
    const SINCE: i64 = 9;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(_node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        Ok(Some(Self))
    }

    fn emit(&self, _out: &mut Emission) {}

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let (Some(condition), Some(a), Some(b)) = (facts.shape(0), facts.shape(1), facts.shape(2))
        else {
            return one(None);
        };
        one(Some(broadcast(condition, &broadcast(a, b)?)?))
    }
}
