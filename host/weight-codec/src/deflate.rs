//! Deflate in memory.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;

use crate::CodecError;

/// Compresses bytes.
pub(crate) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail.
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default()
}

/// Decompresses exactly `len` bytes. Memory grows with what is decompressed, not with `len`.
///
/// # Errors
/// [`CodecError::Damaged`] at `place` for bytes that are not compressed, or of another length.
pub(crate) fn inflate(place: &str, bytes: &[u8], len: usize) -> Result<Vec<u8>, CodecError> {
    let mut inflated = Vec::new();
    let mut decoder = DeflateDecoder::new(bytes).take(len as u64 + 1);
    decoder
        .read_to_end(&mut inflated)
        .map_err(|error| CodecError::damaged(place, error.to_string()))?;
    if inflated.len() != len {
        let reason = format!("it does not decompress to {len} bytes");
        return Err(CodecError::damaged(place, reason));
    }
    Ok(inflated)
}
