//! The same sums with the instructions of the DSP extension, which multiply two pairs of halfwords
//! and add the products.
//!
//! Columns are kept as halfwords: for each four entries `a b c d`, the words `a c` and `b d`, as
//! SXTB16 makes them of four bytes; the words of two pixels alternate. The weights' bytes are
//! extended likewise while they are read.
#![allow(unsafe_code)]

/// Directive that lets the assembler take the extension's instructions, where the target leaves
/// it open.
#[cfg(armv8m)]
macro_rules! machine {
    () => {
        ".cpu cortex-m33"
    };
}

/// All processors of the target have the extension.
#[cfg(not(armv8m))]
macro_rules! machine {
    () => {
        ""
    };
}

/// Adds the products of four entries of two pixels with the weights of two outputs: weights in r2
/// and r3, halfwords in r4 to r7, the sums in r8 to r11.
macro_rules! quad {
    () => {
        concat!(
            "sxtb16 r12, r2\n",
            "sxtb16 r2, r2, ror #8\n",
            "smlad r8, r12, r4, r8\n",
            "smlad r9, r12, r5, r9\n",
            "smlad r8, r2, r6, r8\n",
            "smlad r9, r2, r7, r9\n",
            "sxtb16 r12, r3\n",
            "sxtb16 r3, r3, ror #8\n",
            "smlad r10, r12, r4, r10\n",
            "smlad r11, r12, r5, r11\n",
            "smlad r10, r3, r6, r10\n",
            "smlad r11, r3, r7, r11\n",
        )
    };
}

mod blocks;
mod pixels;
mod rows;
mod short;
mod single;
mod sums;
mod words;

use blocks::Blocks;
use pixels::Pairs;
use short::Short;
use single::Single;
pub(crate) use words::{copy, fill};

use super::depthwise::depthwise_from;
use super::factors::{Factors, Patch, Rows};

/// Columns of up to two output pixels.
pub(crate) struct Columns<'a> {
    /// Two columns of halfwords, then one of bytes.
    bytes: &'a mut [u8],
    len: usize,
    /// The weights, if they are kept as halfwords.
    short: Option<Short<'a>>,
}

impl<'a> Columns<'a> {
    /// Columns of `len` entries, a multiple of 4, kept in `scratch` of five times as many bytes.
    /// Behind these may be room for the weights of a layer, `by`, as halfwords.
    pub fn new(scratch: &'a mut [u8], len: usize, by: Factors<'_, 2>) -> Self {
        let (bytes, rest) = scratch.split_at_mut((5 * len).min(scratch.len()));
        let short = if rest.is_empty() {
            None
        } else {
            Short::new(rest, len, by)
        };
        Self { bytes, len, short }
    }

    /// Begins to write the column of pixel `slot`, 0 or 1. With `whole` pieces, each has a
    /// multiple of 4 entries.
    #[inline(always)]
    pub fn writer(&mut self, slot: usize, whole: bool) -> Writer<'_> {
        let (halves, staged) = self.parts();
        Writer {
            halves,
            at: 4 * slot.min(1),
            staged: if whole { &mut [] } else { begun(staged) },
            count: 0,
        }
    }

    /// The halfwords, and the bytes that wait to be extended.
    #[inline(always)]
    fn parts(&mut self) -> (&mut [u8], &mut [u8]) {
        let middle = (4 * self.len).min(self.bytes.len());
        self.bytes.split_at_mut(middle)
    }

    /// Whether [`Columns::side_by_side`] serves for windows of so many rows, of so many bytes.
    #[inline(always)]
    pub fn have_side_by_side(&self, [count, len, _]: [usize; 3]) -> bool {
        self.short.is_some() && (count, len) == (3, 9)
    }

    /// Computes pixels side by side, an even number, whose windows lie within the image: that of
    /// the first is `first`, and the others follow by `next` bytes each. Returns whether it did.
    #[inline(never)]
    pub fn side_by_side(&mut self, first: Rows<'_>, next: usize, to: &mut [u8]) -> bool {
        let short = self.short.as_ref();
        short.is_some_and(|short| short.side_by_side(first, next, self.bytes, to))
    }

    /// As [`Columns::rows`], where the rows fill the column, in a faster form. Returns whether
    /// there is one.
    #[inline(always)]
    pub fn whole(&mut self, slot: usize, rows: Rows<'_>) -> bool {
        let (halves, _) = self.parts();
        let halves = halves.get_mut(4 * slot.min(1)..).unwrap_or_default();
        rows.len.is_multiple_of(4) && rows::extend(rows, halves)
    }

    /// Writes the column of pixel `slot`, 0 or 1, from the rows that its window covers.
    #[inline(never)]
    pub fn rows(&mut self, slot: usize, rows: Rows<'_>) {
        let (halves, staged) = self.parts();
        let halves = halves.get_mut(4 * slot.min(1)..).unwrap_or_default();
        if (rows.len | rows.ahead | rows.pitch).is_multiple_of(4) {
            if let Some((byte, count)) = rows.padding {
                rows::fill_halves(halves, byte, count / 2);
            }
            rows::extend(rows, halves);
            return;
        }
        let staged = begun(staged);
        if let Some((byte, count)) = rows.padding {
            rows::fill(staged.get_mut(..count).unwrap_or_default(), byte);
        }
        rows::copy(rows, staged);
        rows::extend_bytes(staged, halves);
    }

    /// Multiplies the only column of a layer, `from`, with its weights. Returns whether it did.
    pub fn product(&mut self, from: &[u8], by: Factors<'_, 2>, to: &mut [u8]) -> bool {
        if from.len() != self.len || by.rounding.is_some_and(|of| of.plain().is_none()) {
            return false;
        }
        let halves = self.bytes.get_mut(..2 * self.len).unwrap_or_default();
        sums::extend_alone(from, halves);
        Single { by, halves }.multiply(to)
    }

    /// Multiplies the columns of `to.len()` pixels with the weights of a group; `to` takes the
    /// group's outputs per pixel.
    #[inline(always)]
    pub fn multiply<const PIXELS: usize>(&self, by: Factors<'_, 2>, mut to: [&mut [u8]; PIXELS]) {
        let halves = self.bytes.get(..4 * self.len).unwrap_or_default();
        let done = match (&self.short, by.plain(), &mut to[..]) {
            (Some(short), _, [one, two]) => short.multiply(halves, one, two),
            (None, Some(plain), [one, two]) => Pairs { by, halves, plain }.multiply(one, two),
            _ => 0,
        };
        if 2 * done < by.outputs {
            self.multiply_from(done, by, &mut to);
        }
    }

    /// As [`Columns::multiply`], from this pair of outputs on.
    #[inline(never)]
    fn multiply_from(&self, done: usize, by: Factors<'_, 2>, to: &mut [&mut [u8]]) {
        let halves = self.bytes.get(..4 * self.len).unwrap_or_default();
        let pairs = by.packed.chunks_exact((2 * self.len).max(1));
        for (index, packed) in pairs.enumerate().skip(done) {
            let sums = sums::sums(to.len(), packed, halves);
            for (to, sums) in to.iter_mut().zip(sums) {
                for (output, sum) in sums.into_iter().enumerate() {
                    by.store(to, 2 * index + output, sum);
                }
            }
        }
    }
}

/// Bytes that wait to be extended: they end with zeros unless all of them are written.
#[inline(always)]
fn begun(staged: &mut [u8]) -> &mut [u8] {
    if let Some(last) = staged.last_chunk_mut::<4>() {
        *last = [0; 4];
    }
    staged
}

/// Writes a column piece by piece.
pub(crate) struct Writer<'a> {
    halves: &'a mut [u8],
    /// Where the next word goes.
    at: usize,
    /// Bytes that wait to be extended, if pieces end between words.
    staged: &'a mut [u8],
    count: usize,
}

/// Distance of two words of a column.
const STEP: usize = 8;

impl Writer<'_> {
    /// Appends `count` times the same byte.
    #[inline(never)]
    pub fn fill(&mut self, byte: u8, count: usize) {
        if !self.staged.is_empty() {
            if let Some(to) = self.staged.get_mut(self.count..self.count + count) {
                rows::fill(to, byte);
            }
            self.count += count;
            return;
        }
        let rest = self.halves.get_mut(self.at..).unwrap_or_default();
        rows::fill_halves(rest, byte, count / 2);
        self.at += STEP * (count / 2);
    }

    /// Appends bytes.
    #[inline(always)]
    pub fn copy(&mut self, from: &[u8]) {
        if self.staged.is_empty() {
            let rest = self.halves.get_mut(self.at..).unwrap_or_default();
            self.at += rows::extend_bytes(from, rest);
            return;
        }
        let rest = self.staged.get_mut(self.count..).unwrap_or_default();
        copy(rest, from);
        self.count += from.len();
    }

    /// Ends the column.
    pub fn finish(self) {
        let rest = self.halves.get_mut(self.at..).unwrap_or_default();
        rows::extend_bytes(self.staged, rest);
    }
}

/// Outputs of pixels side by side of a depthwise layer with one output channel per input channel.
pub(crate) fn depthwise(patch: Patch<'_>, by: Factors<'_, 4>, to: &mut [u8]) {
    let channels = by.outputs.max(1);
    let done = match by.plain() {
        Some(plain) => {
            let blocks = Blocks { patch, by, plain };
            4 * blocks.multiply(to)
        }
        None => 0,
    };
    if done == channels {
        return;
    }
    for (index, pixel) in to.chunks_exact_mut(channels).enumerate() {
        let bytes = patch.bytes.get(index * patch.next..).unwrap_or_default();
        let first = if index == 0 { done } else { 0 };
        depthwise_from(first, Patch { bytes, ..patch }, by, pixel);
    }
}
