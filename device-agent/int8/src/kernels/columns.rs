//! Columns of bytes.

use super::factors::{Factors, Rows};
#[cfg(helium)]
use super::helium::{ALIGNMENT, multiply};
#[cfg(not(assembly))]
use super::portable::{ALIGNMENT, multiply};
use super::words::{copy, fill};

/// Columns of up to two output pixels.
pub(crate) struct Columns<'a> {
    bytes: &'a mut [u8],
    /// Entries of a column.
    len: usize,
}

impl<'a> Columns<'a> {
    /// Columns of `len` entries, a multiple of 4, kept in `scratch` of five times as many bytes.
    pub fn new(scratch: &'a mut [u8], len: usize, _by: Factors<'_, 2>) -> Self {
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

    /// As [`Columns::rows`], where the rows fill the column, in a faster form. Returns whether
    /// there is one.
    pub fn whole(&mut self, _slot: usize, _rows: Rows<'_>) -> bool {
        false
    }

    /// Whether [`Columns::side_by_side`] serves for such rows.
    pub fn have_side_by_side(&self, _rows: [usize; 3]) -> bool {
        false
    }

    /// Computes pixels side by side. Returns whether it did.
    pub fn side_by_side(&mut self, _first: Rows<'_>, _next: usize, _to: &mut [u8]) -> bool {
        false
    }

    /// Writes the column of pixel `slot`, 0 or 1, from the rows that its window covers.
    pub fn rows(&mut self, slot: usize, rows: Rows<'_>) {
        let start = slot * self.len;
        let column = self.bytes.get_mut(start..start + self.len);
        let column = column.unwrap_or_default();
        if let Some(last) = column.last_chunk_mut::<4>() {
            *last = [0; 4];
        }
        if let Some((byte, count)) = rows.padding
            && let Some(to) = column.get_mut(..count)
        {
            fill(to, byte);
        }
        for (at, row) in rows.iter() {
            if let Some(to) = column.get_mut(at..at + row.len()) {
                copy(to, row);
            }
        }
    }

    /// Multiplies the only column of a layer, `from`, with its weights. Returns whether it did.
    pub fn product(&mut self, from: &[u8], by: Factors<'_, 2>, to: &mut [u8]) -> bool {
        let is_aligned = from.as_ptr().addr().is_multiple_of(ALIGNMENT);
        let is_whole = from.len() == self.len && is_aligned;
        if is_whole {
            multiply([from], by, [to]);
        }
        is_whole
    }

    /// Multiplies the columns of `to.len()` pixels with the weights of a group; `to` takes the
    /// group's outputs per pixel.
    pub fn multiply<const PIXELS: usize>(&self, by: Factors<'_, 2>, to: [&mut [u8]; PIXELS]) {
        multiply(self.all::<PIXELS>(), by, to);
    }

    /// The column of each pixel.
    fn all<const PIXELS: usize>(&self) -> [&[u8]; PIXELS] {
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
