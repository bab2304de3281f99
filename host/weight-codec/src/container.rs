//! The container: a file whose weight tensors are stored in few bytes.
//!
//! ```text
//! "GPWC", version (1 byte), SHA-256 of the unpacked file (32 bytes)
//! numbers: bytes of the file, of the file without its tensors, of the table, of the control
//! part when deflated, of the refinement
//! SHA-256 of the file with zeros in place of refined tensors (only with a refinement)
//! control part, deflated: the file without its tensors, then the table
//! scales of all quantised tensors, as byte planes
//! contents of each tensor, in the order of the table
//! the refinement: a stream of successive refinement for all refined tensors
//! ```
//!
//! Numbers have 7 bits per byte, least significant first. The table has, for each tensor in the
//! order of the file: bytes of the name, the name, distance from the end of the tensor before,
//! and the storage. Storage 0 is lossless, 1 is refined, each followed by the number of values;
//! 2 to 8 are integers of so many bits, followed by the layout as three numbers: values per axis
//! before that of the channels, channels, values per axis after it.

mod pack;
mod table;
mod unpack;

pub use pack::{Storage, Stored, pack, pack_refined};
pub use unpack::{Prefix, unpack, unpack_prefix};

pub(crate) use pack::content_len;

/// The first bytes of a container.
const MAGIC: [u8; 4] = *b"GPWC";
const VERSION: u8 = 1;
/// Bytes of a SHA-256.
const DIGEST: usize = 32;

/// Writes values as little endian.
fn fill(bytes: &mut [u8], values: &[f32]) {
    let (places, _) = bytes.as_chunks_mut();
    for (place, value) in places.iter_mut().zip(values) {
        *place = value.to_le_bytes();
    }
}

/// Whether bytes begin as those of [`pack()`] do.
#[must_use]
pub fn is_container(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}
