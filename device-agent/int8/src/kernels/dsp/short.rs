//! Outputs of two pixels at a time of a layer with short columns, whose weights are extended to
//! halfwords once for all pixels.

use core::arch::naked_asm;

use super::rows::three_of_nine;
use crate::kernels::factors::{Factors, Rows, Scales};
use crate::requant::Plain;

/// The most quads of a column: [`two_pixels`] has code for so many.
const QUADS: usize = 7;
/// Bytes of the code for a quad.
const QUAD_CODE: usize = 38;

/// The weights of a layer as halfwords.
pub(super) struct Short<'a> {
    /// Per pair of outputs: two biases, the halfwords, two multipliers.
    pairs: &'a [u8],
    /// Quads of a column.
    quads: usize,
    outputs: usize,
    plain: Plain,
}

/// What [`two_pixels`] reads; its order is that of the assembly.
#[repr(C)]
struct ShortCall {
    halves: *const u8,
    offset: i32,
    shift: u32,
    one: *mut u8,
    two: *mut u8,
    pairs_end: *const u8,
    /// Bytes of the code that a pair skips.
    skip: usize,
    pairs: *const u8,
}

impl<'a> Short<'a> {
    /// Extends the weights of columns of `len` entries to `to`, which begins on a word. `None` if
    /// columns are long, or there is no room.
    #[inline(never)]
    pub fn new(to: &'a mut [u8], len: usize, by: Factors<'_, 2>) -> Option<Self> {
        let plain = by.plain()?;
        let pairs = by.outputs / 2;
        let to = to.get_mut(..pairs * (16 + 4 * len))?;
        let quads = len / 4;
        let is_there = by.packed.len() >= pairs * 2 * len && by.scales.len() >= pairs;
        if pairs == 0 || !(1..=QUADS).contains(&quads) || !is_there {
            return None;
        }
        let call = ExtendCall {
            to: to.as_mut_ptr(),
            packed: by.packed.as_ptr(),
            scales: by.scales.as_ptr(),
            pairs,
            words: 2 * quads,
        };
        // SAFETY: pairs and words are positive; there are weights and scales of as many, and room.
        // All begin on words.
        unsafe { extend_pairs(&call) };
        Some(Self {
            pairs: to,
            quads,
            outputs: by.outputs,
            plain,
        })
    }

    /// Computes the outputs that come in pairs, of two columns; returns the number of pairs.
    #[inline(always)]
    pub fn multiply(&self, halves: &[u8], one: &mut [u8], two: &mut [u8]) -> usize {
        let outputs = self.outputs & !1;
        if halves.len() < 16 * self.quads || one.len() < outputs || two.len() < outputs {
            return 0;
        }
        let call = self.call(halves, one.as_mut_ptr(), two.as_mut_ptr());
        // SAFETY: there are halfwords of as many quads, and two bytes of either output per pair.
        unsafe { two_pixels(&call) };
        self.plain.limit(&mut one[..outputs]);
        self.plain.limit(&mut two[..outputs]);
        outputs / 2
    }

    /// Computes pixels side by side, two at a time, whose windows are three rows of nine bytes and
    /// follow one another by `next` bytes. Returns whether it did: it does not if a length is
    /// unusual, or if outputs do not come in pairs.
    #[inline(always)]
    pub fn side_by_side(
        &self,
        first: Rows<'_>,
        next: usize,
        halves: &mut [u8],
        to: &mut [u8],
    ) -> bool {
        let (outputs, step) = (self.outputs, first.step);
        let pairs = to.len() / (2 * outputs);
        let needed = (2 * pairs).wrapping_sub(1) * next + 2 * step + 9;
        let is_whole = outputs.is_multiple_of(2)
            && pairs * 2 * outputs == to.len()
            && pairs > 0
            && self.quads == QUADS
            && halves.len() >= 16 * QUADS
            && step > 0
            && first.bytes.len() >= needed;
        if !is_whole {
            return false;
        }
        let (mut from, end) = (first.bytes.as_ptr(), to.as_mut_ptr_range().end);
        let halves_at = halves.as_mut_ptr();
        let one = to.as_mut_ptr();
        let mut call = self.call(halves, one, one.wrapping_add(outputs));
        while call.one != end {
            // SAFETY: the windows are there, as the outputs of both pixels; halfwords have room
            // for the columns.
            unsafe {
                three_of_nine(from, halves_at, step);
                three_of_nine(from.wrapping_add(next), halves_at.wrapping_add(4), step);
                two_pixels(&call);
            }
            from = from.wrapping_add(2 * next);
            call.one = call.one.wrapping_add(2 * outputs);
            call.two = call.two.wrapping_add(2 * outputs);
        }
        self.plain.limit(to);
        true
    }

    #[inline(always)]
    fn call(&self, halves: &[u8], one: *mut u8, two: *mut u8) -> ShortCall {
        let pairs = self.pairs.as_ptr_range();
        ShortCall {
            halves: halves.as_ptr(),
            offset: self.plain.offset,
            shift: self.plain.shift,
            one,
            two,
            pairs_end: pairs.end,
            skip: (QUADS - self.quads) * QUAD_CODE,
            pairs: pairs.start,
        }
    }
}

/// What [`extend_pairs`] reads; its order is that of the assembly.
#[repr(C)]
struct ExtendCall {
    to: *mut u8,
    packed: *const u8,
    scales: *const Scales<2>,
    pairs: usize,
    /// Words of a pair's weights.
    words: usize,
}

/// Writes the biases of each pair of outputs, its weights as halfwords, and its multipliers.
///
/// # Safety
/// `pairs` and `words` are positive; per pair there are so many words of weights, a block of
/// scales, and room for two words of each word of weights and for four.
// SAFETY: the code keeps to the calling convention: it restores r4 to r7 and returns.
#[unsafe(naked)]
unsafe extern "C" fn extend_pairs(call: &ExtendCall) {
    naked_asm!(
        machine!(),
        "push {{r4-r7, lr}}",
        "ldmia r0, {{r0-r4}}",
        "2:",
        "ldmia r2!, {{r5, r6}}",
        "stmia r0!, {{r5, r6}}",
        "mov r5, r4",
        "3:",
        "ldr r7, [r1], #4",
        "sxtb16 r6, r7",
        "sxtb16 r7, r7, ror #8",
        "stmia r0!, {{r6, r7}}",
        "subs r5, #1",
        "bne 3b",
        "ldmia r2!, {{r5, r6}}",
        "stmia r0!, {{r5, r6}}",
        "subs r3, #1",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// Adds the products of four entries of two pixels with the weights of two outputs, in
/// [`QUAD_CODE`] bytes of code: the weights from r0 on, the halfwords from r1 on, the sums in r8 to
/// r11.
macro_rules! extended_quad {
    () => {
        concat!(
            "ldmia.w r0!, {{r2, r3, r12, lr}}\n",
            "ldmia.n r1!, {{r4-r7}}\n",
            "smlad r8, r2, r4, r8\n",
            "smlad r9, r2, r5, r9\n",
            "smlad r10, r12, r4, r10\n",
            "smlad r11, r12, r5, r11\n",
            "smlad r8, r3, r6, r8\n",
            "smlad r9, r3, r7, r9\n",
            "smlad r10, lr, r6, r10\n",
            "smlad r11, lr, r7, r11\n",
        )
    };
}

/// Computes the outputs of two pixels. A pair of outputs goes through the code of [`QUADS`] quads
/// without a loop, from behind what it skips.
///
/// # Safety
/// `pairs_end` comes after `pairs` by whole pairs; each has as many quads as the code that is not
/// skipped, one at least, and so have the halfwords; there are two outputs of either pixel per
/// pair.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn two_pixels(call: &ShortCall) {
    naked_asm!(
        machine!(),
        "push {{r4-r11, lr}}",
        // The call moves to the stack, where no register is needed to reach it; at its end, where
        // the code begins.
        "ldmia r0, {{r1-r7, r12}}",
        "adr.w r0, 3f",
        "add r7, r0",
        "orr r7, #1",
        "push {{r1-r7}}",
        "mov r0, r12",
        "2:",
        "ldmia r0!, {{r8, r10}}",
        "mov r9, r8",
        "mov r11, r10",
        "ldr pc, [sp, #24]",
        "3:",
        extended_quad!(),
        extended_quad!(),
        extended_quad!(),
        extended_quad!(),
        extended_quad!(),
        extended_quad!(),
        extended_quad!(),
        "ldmia r0!, {{r2, r3}}",
        "ldmia.w sp, {{r1, r4-r7, r12}}",
        "cmp r0, r12",
        "smmla r8, r8, r2, r4",
        "smmla r9, r9, r2, r4",
        "smmla r10, r10, r3, r4",
        "smmla r11, r11, r3, r4",
        "asr r8, r8, r5",
        "asr r9, r9, r5",
        "asr r10, r10, r5",
        "asr r11, r11, r5",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "strb r8, [r6], #1",
        "strb r10, [r6], #1",
        "strb r9, [r7], #1",
        "strb r11, [r7], #1",
        "strd r6, r7, [sp, #12]",
        "bne 2b",
        "add sp, #28",
        "pop {{r4-r11, pc}}",
    )
}
