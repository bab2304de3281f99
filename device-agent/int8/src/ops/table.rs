//! A function of every element alone, as the list of its 256 results.

use super::common::{
    Failed, Memory, NO_WEIGHTS, NOT_BYTES, OTHER_SHAPE, OUTSIDE, OVERLAP, all_hold, are_bytes,
    weights,
};
use crate::bounds::Bounds;
use crate::tensor::Tensor;
use crate::wire::record;

record! {
    /// Each byte is replaced by the entry of a table: HardSwish, Sigmoid, a ReLU that is not part
    /// of another operator, a change of scale.
    pub struct Table {
        /// The input.
        pub input: Tensor,
        /// The output, of the same shape; it may share the memory of the input.
        pub output: Tensor,
        /// Offset of the 256 results in the weights; the first is that of -128.
        pub table: u32,
    }
}

/// Entries of a table.
pub(super) const ENTRIES: u32 = 256;

/// The entry of a byte.
#[inline(always)]
pub(super) fn look_up(table: &[u8], byte: u8) -> u8 {
    // The sign turned round, the least integer is the first entry.
    table.get(usize::from(byte ^ 0x80)).copied().unwrap_or(byte)
}

impl Table {
    pub(super) fn check(&self, bounds: Bounds) -> Result<(), &'static str> {
        let (from, to) = (self.input.region(), self.output.region());
        all_hold(&[
            (are_bytes(&[&self.input, &self.output]), NOT_BYTES),
            (
                bounds.holds(&self.input) && bounds.holds(&self.output),
                OUTSIDE,
            ),
            (self.input.dims() == self.output.dims(), OTHER_SHAPE),
            (from == to || !from.meets(to), OVERLAP),
            (bounds.has_weights(self.table, Some(ENTRIES)), NO_WEIGHTS),
        ])
    }

    pub(super) fn run(&self, memory: &mut Memory<'_>) -> Result<(), Failed> {
        let table = weights(memory.weights, self.table, Some(ENTRIES))?;
        if self.input.offset == self.output.offset {
            let [bytes] = memory.parts([self.output.range()])?;
            for byte in bytes {
                *byte = look_up(table, *byte);
            }
        } else {
            let [from, to] = memory.parts([self.input.range(), self.output.range()])?;
            for (to, from) in to.iter_mut().zip(from) {
                *to = look_up(table, *from);
            }
        }
        Ok(())
    }
}
