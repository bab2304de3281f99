//! [Expand](https://onnx.ai/onnx/operators/onnx__Expand.html). A constant target is resolved into
//! the operator; a target with an open batch stays an input, and the operator records which size
//! is open.

use super::context::{Emission, Facts, Input, Operator, Parsing, one};
use crate::GraphError;
use crate::dims::broadcast;
use crate::fold::{Array, Fold, Operands, common};
use crate::value::{Dim, Shape};

/// The first input broadcast to `sizes`; if one of them is open, a second input lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expand {
    /// Sizes to broadcast to, 1 where the input keeps its own.
    pub sizes: Vec<Dim>,
}

impl Expand {
    fn fold(&self, operands: &Operands) -> Option<Array> {
        let x = operands.get(0)?;
        let known: Vec<usize> = self.sizes.iter().map(Dim::known).collect::<Option<_>>()?;
        let dims = common(x.dims(), &known, operands.limit)?;
        x.broadcast(&dims)
    }
}

impl Operator for Expand {
    const NAME: &'static str = "Expand";
    const VERSIONS: &'static [i64] = &[8, 13];
    const INPUTS: (usize, usize) = (1, 2);
    const SINCE: i64 = 8;
    const FOLD: Fold<Self> = Fold::Elements(Self::fold);

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        let target: Vec<Dim> = match (
            node.int_input(1),
            node.sizes_input(1).and_then(|s| s.elements()),
        ) {
            (Input::Known(list), _) => {
                let sizes = list
                    .iter()
                    .map(|&d| usize::try_from(d).map(Dim::Known))
                    .collect::<Result<_, _>>();
                sizes.map_err(|_| node.malformed(format!("the target {list:?} is no shape")))?
            }
            (Input::Dynamic, Some(elements)) => match elements.iter().map(|e| e.dim()).collect() {
                Some(sizes) => sizes,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let Some(x) = node.shape(0) else {
            return Ok(None);
        };
        // A size that the input already has is left out of the target, so that pruning can change
        // it.
        let keeps = |i: usize, size: &Dim| {
            (i + x.len())
                .checked_sub(target.len())
                .and_then(|at| x.get(at))
                == Some(size)
        };
        let one = Dim::Known(1);
        let sizes = target
            .iter()
            .enumerate()
            .map(|(i, s)| if keeps(i, s) { one.clone() } else { s.clone() });
        let sizes: Vec<Dim> = sizes.collect();
        if sizes.iter().all(|s| s.known().is_some()) {
            node.keep_inputs(1);
        }
        Ok(Some(Self { sizes }))
    }

    fn emit(&self, out: &mut Emission) {
        let known: Option<Vec<i64>> = self
            .sizes
            .iter()
            .map(|s| s.known().map(|n| n as i64))
            .collect();
        if let Some(sizes) = known {
            out.ints_input("shape", &sizes);
        }
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        let Some(x) = facts.shape(0) else {
            return one(None);
        };
        one(Some(broadcast(x, &self.sizes)?))
    }
}
