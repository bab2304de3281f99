//! The same sums with the vector extension of Armv8.1-M (Helium): sixteen products an instruction.
//!
//! Columns are bytes, as in the portable loops. Of sixteen entries, VLD20 and VLD21 read the
//! weights' words of two outputs apart, so that one form of packed weights serves all processors.
//! Source: Armv8-M Architecture Reference Manual (Arm DDI 0553), C2.4. None of these functions
//! keeps the vector registers that its callers would keep: no compiled code uses them.
#![allow(unsafe_code)]

/// Directive that lets the assembler take the extension's instructions, which the target leaves
/// open.
macro_rules! machine {
    () => {
        ".cpu cortex-m55"
    };
}

/// Rounds sums to outputs that are limited: sums and multipliers in the registers given, the
/// offset in r12, minus the shift in r9, the limits in q4 and q5.
macro_rules! rounded {
    ($sums:literal, $multipliers:literal) => {
        concat!(
            concat!("vmulh.s32 ", $sums, ", ", $sums, ", ", $multipliers, "\n"),
            concat!("vadd.i32 ", $sums, ", ", $sums, ", r12\n"),
            concat!("vshl.s32 ", $sums, ", r9\n"),
            concat!("vmax.s32 ", $sums, ", ", $sums, ", q4\n"),
            concat!("vmin.s32 ", $sums, ", ", $sums, ", q5\n"),
        )
    };
}

mod blocks;
mod limits;
mod pixels;

use blocks::Blocks;
use pixels::Pixels;

use super::depthwise::depthwise_from;
use super::factors::{Factors, Patch};

/// Columns begin at a multiple of this many bytes.
pub(super) const ALIGNMENT: usize = 4;

/// Multiplies columns with the weights of a group; each of `to` takes the group's outputs.
pub(super) fn multiply<const PIXELS: usize>(
    columns: [&[u8]; PIXELS],
    by: Factors<'_, 2>,
    mut to: [&mut [u8]; PIXELS],
) {
    if let Some(plain) = by.plain() {
        let pixels = Pixels { by, columns };
        if pixels.multiply(plain.into(), &mut to) {
            return;
        }
    }
    let len = columns.first().map_or(0, |column| column.len());
    let pairs = by.packed.chunks_exact((2 * len).max(1));
    for (index, packed) in pairs.enumerate() {
        for (to, column) in to.iter_mut().zip(columns) {
            for (output, sum) in pixels::sums(packed, column).into_iter().enumerate() {
                by.store(to, 2 * index + output, sum);
            }
        }
    }
}

/// Outputs of pixels side by side of a depthwise layer with one output channel per input channel.
pub(crate) fn depthwise(patch: Patch<'_>, by: Factors<'_, 4>, to: &mut [u8]) {
    if let Some(plain) = by.plain() {
        let blocks = Blocks { patch, by };
        if blocks.multiply(plain.into(), to) {
            return;
        }
    }
    for (index, pixel) in to.chunks_exact_mut(by.outputs.max(1)).enumerate() {
        let bytes = patch.bytes.get(index * patch.next..).unwrap_or_default();
        depthwise_from(0, Patch { bytes, ..patch }, by, pixel);
    }
}
