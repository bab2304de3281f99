//! Limits of memory.

use crate::CodecError;

/// What packed bytes may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes that they may declare for what they contain: for a container its file and
    /// table, for a stream of successive refinement 12 bytes per weight. Decoding takes at most
    /// six times as much memory, and only as the contents are decoded.
    pub declared: usize,
}

impl Default for Limits {
    /// 1 GiB, four times the weights of a large convolutional network.
    fn default() -> Self {
        Self { declared: 1 << 30 }
    }
}

impl Limits {
    /// Checks declared bytes; `None` are more than can be counted.
    ///
    /// # Errors
    /// [`CodecError::TooLarge`].
    pub(crate) fn check(&self, declared: Option<usize>) -> Result<(), CodecError> {
        match declared {
            Some(declared) if declared <= self.declared => Ok(()),
            _ => Err(CodecError::TooLarge {
                declared: declared.map_or(u64::MAX, |declared| declared as u64),
                limit: self.declared as u64,
            }),
        }
    }
}
