//! [GroupNormalization](https://onnx.ai/onnx/operators/onnx__GroupNormalization.html) since opset
//! 21, with scale and bias per channel; the form of opset 18, with scale and bias per group,
//! stays opaque.

use super::context::{Emission, Facts, Operator, Parsing, same};
use crate::GraphError;
use crate::value::Shape;

/// Normalises groups of channels to mean 0 and variance 1 per image, then scales and shifts each
/// channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNormalization {
    /// Number of groups.
    pub groups: usize,
    /// Added to the variance.
    pub epsilon: f32,
}

impl Operator for GroupNormalization {
    const NAME: &'static str = "GroupNormalization";
    const VERSIONS: &'static [i64] = &[18, 21];
    const INPUTS: (usize, usize) = (3, 3);
    const SINCE: i64 = 21;

    fn parse(node: &mut Parsing<'_>) -> Result<Option<Self>, GraphError> {
        if node.opset < Self::SINCE {
            return Ok(None);
        }
        // Everything is computed in full precision anyway.
        node.int("stash_type", 1)?;
        let groups = node.int("num_groups", 0)?;
        let epsilon = node.float("epsilon", 1e-5)?;
        match usize::try_from(groups)
            .ok()
            .filter(|&g| (1..=u32::MAX as usize).contains(&g))
        {
            Some(groups) => Ok(Some(Self { groups, epsilon })),
            None => Err(node.malformed(format!("{groups} groups"))),
        }
    }

    fn emit(&self, out: &mut Emission) {
        out.int("num_groups", self.groups as i64);
        out.float("epsilon", self.epsilon);
    }

    fn shapes(&self, facts: &Facts<'_>) -> Result<Vec<Option<Shape>>, String> {
        if let Some(channels) = facts.shape(0).and_then(|x| x.get(1)?.known())
            && !channels.is_multiple_of(self.groups)
        {
            return Err(format!(
                "{channels} channels are not {} groups of equal size",
                self.groups
            ));
        }
        same(facts)
    }
}
