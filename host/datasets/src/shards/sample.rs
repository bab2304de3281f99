//! A sample of a shard.

/// An image in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sample {
    /// Number of the shard.
    pub shard: usize,
    /// First byte in a tar file, or row of a table.
    pub start: u64,
    /// Bytes of the image's file.
    pub length: u64,
    pub label: u16,
    pub content_hash: u64,
}
