//! The limits of memory for operators.

use crate::tensor::Tensor;

/// The sizes of arena and weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub arena: u32,
    pub weights: u32,
}

impl Bounds {
    /// Whether a tensor has elements, is inside of the arena and begins on a word.
    pub fn holds(self, tensor: &Tensor) -> bool {
        let bytes = tensor.bytes().filter(|&bytes| bytes > 0);
        self.has(tensor.offset, bytes)
    }

    /// Whether `len` bytes from `offset` on are inside of the arena and begin on a word.
    pub fn has(self, offset: u32, len: Option<u32>) -> bool {
        within(offset, len, self.arena)
    }

    /// Whether `len` bytes from `offset` on are inside of the weights and begin on a word.
    pub fn has_weights(self, offset: u32, len: Option<u32>) -> bool {
        within(offset, len, self.weights)
    }
}

fn within(offset: u32, len: Option<u32>, size: u32) -> bool {
    let end = len.and_then(|len| offset.checked_add(len));
    offset.is_multiple_of(4) && end.is_some_and(|end| end <= size)
}
