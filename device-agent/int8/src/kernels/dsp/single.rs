//! Outputs of one pixel, four at a time: a matrix product, and the last of an odd number of pixels.

use core::arch::naked_asm;

use crate::kernels::factors::{Factors, Scales};
use crate::requant::Plain;

/// One pixel of a layer.
pub(super) struct Single<'a> {
    pub by: Factors<'a, 2>,
    pub halves: &'a [u8],
    pub plain: Plain,
}

/// What [`by_fours`] reads and counts in; its order is that of the assembly.
#[repr(C)]
struct SingleCall {
    packed: *const u8,
    halves: *const u8,
    halves_end: *const u8,
    scales: *const Scales<2>,
    offset: i32,
    shift: u32,
    to: *mut u8,
    pairs: usize,
    /// Bytes of a pair's weights.
    of_pair: usize,
    /// Whether a column has an odd number of quads.
    odd: usize,
}

impl Single<'_> {
    /// Computes the outputs that come in pairs; returns the number of pairs.
    pub fn multiply(&self, to: &mut [u8]) -> usize {
        let quads = self.halves.len() / 16;
        let pairs = (self.by.outputs.min(to.len()) / 2).min(self.by.scales.len());
        let pairs = pairs.min(self.by.packed.len() / (8 * quads).max(1));
        if quads == 0 || pairs == 0 {
            return 0;
        }
        let halves = self.halves[..16 * quads].as_ptr_range();
        let mut call = SingleCall {
            packed: self.by.packed.as_ptr(),
            halves: halves.start,
            halves_end: halves.end,
            scales: self.by.scales.as_ptr(),
            offset: self.plain.offset,
            shift: self.plain.shift,
            to: to.as_mut_ptr(),
            pairs,
            of_pair: 8 * quads,
            odd: quads % 2,
        };
        // SAFETY: `quads` and `pairs` are positive; there are 16 * quads bytes of halfwords, and
        // per pair 8 * quads weights, a block of scales and two bytes of output. All but the
        // output begin on words.
        unsafe { by_fours(&mut call) };
        self.plain.limit(&mut to[..2 * pairs]);
        pairs
    }
}

/// Adds the products of four entries in r4 and r5 with the weights of two outputs in r6 and r7 to
/// two sums.
macro_rules! products {
    ($one:literal, $two:literal) => {
        concat!(
            "sxtb16 r12, r6\n",
            "sxtb16 r6, r6, ror #8\n",
            concat!("smlad ", $one, ", r12, r4, ", $one, "\n"),
            concat!("smlad ", $one, ", r6, r5, ", $one, "\n"),
            "sxtb16 r12, r7\n",
            "sxtb16 r7, r7, ror #8\n",
            concat!("smlad ", $two, ", r12, r4, ", $two, "\n"),
            concat!("smlad ", $two, ", r7, r5, ", $two, "\n"),
        )
    };
}

/// Four entries and the weights of two outputs.
macro_rules! two_outputs {
    () => {
        concat!(
            "ldr r4, [r1], #8\n",
            "ldrd r6, r7, [r0], #8\n",
            "ldr r5, [r1], #8\n",
            products!("r8", "r9"),
        )
    };
}

/// As [`two_outputs`], and those of the next pair, from r2 on.
macro_rules! four_outputs {
    () => {
        concat!(
            two_outputs!(),
            "ldrd r6, r7, [r2], #8\n",
            products!("r10", "r11"),
        )
    };
}

/// Rounds two sums: multipliers in r4 and r5, the offset in r1, the shift in r2.
macro_rules! round_two {
    ($one:literal, $two:literal) => {
        concat!(
            concat!("smmla ", $one, ", ", $one, ", r4, r1\n"),
            concat!("smmla ", $two, ", ", $two, ", r5, r1\n"),
            concat!("asr ", $one, ", ", $one, ", r2\n"),
            concat!("asr ", $two, ", ", $two, ", r2\n"),
            concat!("ssat ", $one, ", #8, ", $one, "\n"),
            concat!("ssat ", $two, ", #8, ", $two, "\n"),
            concat!("strb ", $one, ", [lr], #1\n"),
            concat!("strb ", $two, ", [lr], #1\n"),
        )
    };
}

/// # Safety
/// Each end of the call comes after its beginning, by whole quads; the pointers are valid between
/// them and for `pairs`, which is positive.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn by_fours(call: &mut SingleCall) {
    naked_asm!(
        machine!(),
        "push {{r4-r11, lr}}",
        "mov r3, r0",
        "ldr r0, [r3]",
        "2:",
        "ldrd r1, lr, [r3, #4]",
        "ldr r12, [r3, #12]",
        "ldrd r5, r4, [r3, #28]",
        "ldrd r8, r9, [r12]",
        "cmp r5, #1",
        "ldr r5, [r3, #36]",
        "beq 6f",
        "add r2, r0, r4",
        "ldrd r10, r11, [r12, #16]",
        // An odd number of quads begins with the second of a round.
        "cmp r5, #0",
        "bne 4f",
        "3:",
        four_outputs!(),
        "4:",
        four_outputs!(),
        "cmp r1, lr",
        "bne 3b",
        "mov r0, r2",
        "ldrd r1, r2, [r3, #16]",
        "ldr r12, [r3, #12]",
        "ldr lr, [r3, #24]",
        "ldrd r4, r5, [r12, #8]",
        round_two!("r8", "r9"),
        "ldrd r4, r5, [r12, #24]",
        round_two!("r10", "r11"),
        "add r12, #32",
        "ldr r4, [r3, #28]",
        "str r12, [r3, #12]",
        "str lr, [r3, #24]",
        "subs r4, #2",
        "str r4, [r3, #28]",
        "bne 2b",
        "pop {{r4-r11, pc}}",
        // The last pair alone.
        "6:",
        "cmp r5, #0",
        "bne 8f",
        "7:",
        two_outputs!(),
        "8:",
        two_outputs!(),
        "cmp r1, lr",
        "bne 7b",
        "ldrd r1, r2, [r3, #16]",
        "ldr r12, [r3, #12]",
        "ldr lr, [r3, #24]",
        "ldrd r4, r5, [r12, #8]",
        round_two!("r8", "r9"),
        "pop {{r4-r11, pc}}",
    )
}
