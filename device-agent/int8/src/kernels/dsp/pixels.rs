//! Outputs of two pixels at a time, in one loop over pairs of outputs.

use core::arch::naked_asm;

use crate::kernels::factors::{Factors, Scales};
use crate::requant::Plain;

/// Two pixels of a layer.
pub(super) struct Pairs<'a> {
    pub by: Factors<'a, 2>,
    pub halves: &'a [u8],
    pub plain: Plain,
}

/// Quads of a column that a round of the loop takes.
const ROUND: usize = 4;
/// Bytes of the code for a quad.
const QUAD_CODE: usize = 52;

/// What [`two_pixels`] reads; its order is that of the assembly.
#[repr(C)]
struct PairsCall {
    packed: *const u8,
    halves_end: *const u8,
    /// Bytes of the loop's code that the first round skips.
    skip: usize,
    halves: *const u8,
    scales: *const Scales<2>,
    scales_end: *const Scales<2>,
    offset: i32,
    shift: u32,
    one: *mut u8,
    two: *mut u8,
}

impl Pairs<'_> {
    /// Computes the outputs that come in pairs; returns the number of pairs.
    pub fn multiply(&self, one: &mut [u8], two: &mut [u8]) -> usize {
        let quads = self.halves.len() / 16;
        let outputs = self.by.outputs.min(one.len()).min(two.len());
        let pairs = (outputs / 2).min(self.by.packed.len() / (8 * quads).max(1));
        let pairs = pairs.min(self.by.scales.len());
        if quads == 0 || pairs == 0 {
            return 0;
        }
        let halves = self.halves[..16 * quads].as_ptr_range();
        let scales = self.by.scales[..pairs].as_ptr_range();
        let call = PairsCall {
            packed: self.by.packed.as_ptr(),
            halves_end: halves.end,
            skip: quads.wrapping_neg() % ROUND * QUAD_CODE,
            halves: halves.start,
            scales: scales.start,
            scales_end: scales.end,
            offset: self.plain.offset,
            shift: self.plain.shift,
            one: one.as_mut_ptr(),
            two: two.as_mut_ptr(),
        };
        // SAFETY: `quads` and `pairs` are positive; there are 16 * quads bytes of halfwords, and
        // per pair 8 * quads weights, a block of scales and two bytes of either output. All but
        // the outputs begin on words. The first round skips as many quads as the last is short of.
        unsafe { two_pixels(&call) };
        self.plain.limit(&mut one[..2 * pairs]);
        self.plain.limit(&mut two[..2 * pairs]);
        pairs
    }
}

/// Computes the outputs of two pixels. The loop takes [`ROUND`] quads of a column a round, each in
/// [`QUAD_CODE`] bytes of code.
///
/// # Safety
/// Each end of the call comes after its beginning, by whole pairs and quads; the pointers are valid
/// between them, and `skip` is the code of so many quads as make up for a short round.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn two_pixels(call: &PairsCall) {
    naked_asm!(
        machine!(),
        "push {{r4-r11, lr}}",
        "sub sp, #36",
        // The call moves to the stack, where one register less is needed to reach it; before it,
        // where the first round begins.
        "ldmia r0!, {{r1-r3}}",
        "adr.w r4, 3f",
        "add r3, r4",
        "orr r3, #1",
        "str r3, [sp]",
        "ldmia r0, {{r4-r10}}",
        "add r0, sp, #4",
        "stm r0, {{r4-r10}}",
        "mov r0, r1",
        "mov lr, r2",
        "2:",
        "ldrd r1, r4, [sp, #4]",
        "ldrd r8, r10, [r4]",
        "mov r9, r8",
        "mov r11, r10",
        "ldr pc, [sp]",
        "3:",
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        quad!(),
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        quad!(),
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        quad!(),
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        "cmp r1, lr",
        quad!(),
        "bne 3b",
        "ldrd r4, r5, [sp, #8]",
        "ldrd r6, r7, [sp, #16]",
        "ldrd r2, r3, [r4, #8]",
        "adds r4, #16",
        "str r4, [sp, #8]",
        "cmp r4, r5",
        "smmla r8, r8, r2, r6",
        "smmla r9, r9, r2, r6",
        "smmla r10, r10, r3, r6",
        "smmla r11, r11, r3, r6",
        "ldrd r2, r3, [sp, #24]",
        "asr r8, r8, r7",
        "asr r9, r9, r7",
        "asr r10, r10, r7",
        "asr r11, r11, r7",
        "ssat r8, #8, r8",
        "ssat r9, #8, r9",
        "ssat r10, #8, r10",
        "ssat r11, #8, r11",
        "strb r8, [r2], #1",
        "strb r10, [r2], #1",
        "strb r9, [r3], #1",
        "strb r11, [r3], #1",
        "strd r2, r3, [sp, #24]",
        "bne 2b",
        "add sp, #36",
        "pop {{r4-r11, pc}}",
    )
}
