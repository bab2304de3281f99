//! Columns of bytes.

use super::words::{copy, fill};

/// Columns of up to two output pixels.
pub(crate) struct Columns<'a> {
    bytes: &'a mut [u8],
    /// Entries of a column.
    pub(super) len: usize,
}

impl<'a> Columns<'a> {
    /// Columns of `len` entries, a multiple of 4, kept in `scratch` of five times as many bytes.
    pub fn new(scratch: &'a mut [u8], len: usize) -> Self {
        Self {
            bytes: scratch,
            len,
        }
    }

    /// Begins to write the column of pixel `slot`, 0 or 1. With `whole` pieces, each has a
    /// multiple of 4 entries.
    pub fn writer(&mut self, slot: usize, _whole: bool) -> Writer<'_> {
        let start = slot * self.len;
        let column = self.bytes.get_mut(start..start + self.len);
        Writer {
            rest: column.unwrap_or_default(),
        }
    }

    /// The column of each pixel.
    pub(super) fn all<const PIXELS: usize>(&self) -> [&[u8]; PIXELS] {
        core::array::from_fn(|slot| {
            let column = self.bytes.get(slot * self.len..(slot + 1) * self.len);
            column.unwrap_or_default()
        })
    }
}

/// Writes a column piece by piece.
pub(crate) struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn next(&mut self, count: usize) -> &mut [u8] {
        let rest = core::mem::take(&mut self.rest);
        let (now, later) = rest.split_at_mut(count.min(rest.len()));
        self.rest = later;
        now
    }

    /// Appends `count` times the same byte.
    pub fn fill(&mut self, byte: u8, count: usize) {
        fill(self.next(count), byte);
    }

    /// Appends bytes.
    pub fn copy(&mut self, from: &[u8]) {
        copy(self.next(from.len()), from);
    }

    /// Ends the column with zeros.
    pub fn finish(self) {
        self.rest.fill(0);
    }
}
