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

/// What [`by_four`] reads; its order is that of the assembly.
#[repr(C)]
struct PairsCall {
    packed: *const u8,
    halves: *const u8,
    halves_end: *const u8,
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
            halves: halves.start,
            halves_end: halves.end,
            scales: scales.start,
            scales_end: scales.end,
            offset: self.plain.offset,
            shift: self.plain.shift,
            one: one.as_mut_ptr(),
            two: two.as_mut_ptr(),
        };
        // SAFETY: `quads` and `pairs` are positive; there are 16 * quads bytes of halfwords, and
        // per pair 8 * quads weights, a block of scales and two bytes of either output. All but
        // the outputs begin on words.
        unsafe {
            match quads % 4 {
                0 => by_four(&call),
                1 => and_one(&call),
                2 => and_two(&call),
                _ => and_three(&call),
            }
        }
        self.plain.limit(&mut one[..2 * pairs]);
        self.plain.limit(&mut two[..2 * pairs]);
        pairs
    }
}

/// Defines a function that computes the outputs of two pixels. The loop takes four quads of a
/// column a round; `$entry` skips what the first round has less.
macro_rules! two_pixels {
    ($(#[$doc:meta])* $name:ident $entry:literal) => {
        $(#[$doc])*
        // SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &PairsCall) {
            naked_asm!(
                machine!(),
                "push {{r4-r11, lr}}",
                "sub sp, #36",
                // The call moves to the stack, where one register less is needed to reach it.
                "ldmia r0!, {{r1-r6}}",
                "stm sp, {{r1-r6}}",
                "ldmia r0, {{r4-r6}}",
                "add r0, sp, #24",
                "stm r0, {{r4-r6}}",
                "mov r0, r1",
                "mov lr, r3",
                "2:",
                "ldr r1, [sp, #4]",
                "ldr r4, [sp, #12]",
                "ldrd r8, r10, [r4]",
                "mov r9, r8",
                "mov r11, r10",
                $entry,
                "3:",
                "ldmia r0!, {{r2, r3}}",
                "ldmia r1!, {{r4-r7}}",
                quad!(),
                "4:",
                "ldmia r0!, {{r2, r3}}",
                "ldmia r1!, {{r4-r7}}",
                quad!(),
                "5:",
                "ldmia r0!, {{r2, r3}}",
                "ldmia r1!, {{r4-r7}}",
                quad!(),
                "6:",
                "ldmia r0!, {{r2, r3}}",
                "ldmia r1!, {{r4-r7}}",
                "cmp r1, lr",
                quad!(),
                "bne 3b",
                "ldrd r4, r5, [sp, #12]",
                "ldrd r6, r7, [sp, #20]",
                "ldrd r2, r3, [r4, #8]",
                "adds r4, #16",
                "str r4, [sp, #12]",
                "cmp r4, r5",
                "smmla r8, r8, r2, r6",
                "smmla r9, r9, r2, r6",
                "smmla r10, r10, r3, r6",
                "smmla r11, r11, r3, r6",
                "ldrd r2, r3, [sp, #28]",
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
                "strd r2, r3, [sp, #28]",
                "bne 2b",
                "add sp, #36",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

two_pixels! {
    /// # Safety
    /// Each end of the call comes after its beginning, by whole pairs and a multiple of four quads;
    /// the pointers are valid between them.
    by_four ""
}

two_pixels! {
    /// # Safety
    /// As [`by_four`], with one quad more.
    and_one "b 6f"
}

two_pixels! {
    /// # Safety
    /// As [`by_four`], with two quads more.
    and_two "b 5f"
}

two_pixels! {
    /// # Safety
    /// As [`by_four`], with three quads more.
    and_three "b 4f"
}
