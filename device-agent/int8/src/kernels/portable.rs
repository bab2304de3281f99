//! Columns of bytes, multiplied without any instruction of a particular processor.

use super::factors::Factors;

/// Columns of up to two output pixels.
pub(crate) struct Columns<'a> {
    bytes: &'a mut [u8],
    len: usize,
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

    /// Multiplies the columns of `to.len()` pixels with the weights of a group; `to` takes the
    /// group's outputs per pixel.
    pub fn multiply<const PIXELS: usize>(&self, by: Factors<'_, 2>, to: [&mut [u8]; PIXELS]) {
        let columns: [&[u8]; PIXELS] = core::array::from_fn(|slot| {
            let column = self.bytes.get(slot * self.len..(slot + 1) * self.len);
            column.unwrap_or_default()
        });
        let pairs = by.packed.chunks_exact((2 * self.len).max(1));
        let mut to = to;
        for (index, packed) in pairs.enumerate() {
            let sums = products(packed, columns);
            for (to, sums) in to.iter_mut().zip(sums) {
                for (output, sum) in sums.into_iter().enumerate() {
                    by.store(to, 2 * index + output, sum);
                }
            }
        }
    }
}

/// Copies as many bytes as both have.
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    to[..len].copy_from_slice(&from[..len]);
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
        self.next(count).fill(byte);
    }

    /// Appends bytes.
    pub fn copy(&mut self, from: &[u8]) {
        let to = self.next(from.len());
        to.copy_from_slice(&from[..to.len()]);
    }

    /// Ends the column with zeros.
    pub fn finish(self) {
        self.rest.fill(0);
    }
}

/// The products of two outputs' weights with each column, summed.
#[inline(always)]
fn products<const PIXELS: usize>(packed: &[u8], columns: [&[u8]; PIXELS]) -> [[i32; 2]; PIXELS] {
    let (packed, _) = packed.as_chunks::<8>();
    columns.map(|column| {
        let (column, _) = column.as_chunks::<4>();
        let mut sums = [0i32; 2];
        for (weights, column) in packed.iter().zip(column) {
            for (entry, &x) in column.iter().enumerate() {
                let x = i32::from(x as i8);
                sums[0] = sums[0].wrapping_add(i32::from(weights[entry] as i8) * x);
                sums[1] = sums[1].wrapping_add(i32::from(weights[4 + entry] as i8) * x);
            }
        }
        sums
    })
}
