//! Loops in assembly, each behind a function that is safe: lengths are checked before.

use core::arch::naked_asm;

use crate::kernels::factors::{Factors, Patch, Scales};
use crate::requant::Plain;

/// Extends bytes to halfwords: of each four, the words go to `to` at 0 and 8, and so on. Returns
/// the bytes passed in `to`.
pub(super) fn extend(from: &[u8], to: &mut [u8]) -> usize {
    // The last word is written at 16 * words - 8, with four bytes.
    let words = (from.len() / 4).min((to.len() + 4) / 16);
    if words == 0 {
        return 0;
    }
    // SAFETY: `words` is positive; `from` has 4 * words bytes; the last word written ends at
    // 16 * words - 4, which is not beyond `to`. Any alignment is allowed for single words.
    unsafe { extend_words(from.as_ptr(), to.as_mut_ptr(), words) };
    16 * words
}

/// # Safety
/// `words` is positive; 4 * words bytes at `from`, 16 * words - 4 bytes at `to`.
#[unsafe(naked)]
unsafe extern "C" fn extend_words(from: *const u8, to: *mut u8, words: usize) {
    naked_asm!(
        // Two words a round, the first round half as long where they are odd.
        "lsrs r2, #1",
        "bcc 3f",
        "ldr r3, [r0], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r12, [r1], #8",
        "str r3, [r1], #8",
        "beq 4f",
        "3:",
        "ldr r3, [r0], #4",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r12, [r1], #8",
        "str r3, [r1], #8",
        "ldr r3, [r0], #4",
        "subs r2, #1",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "str r12, [r1], #8",
        "str r3, [r1], #8",
        "bne 3b",
        "4:",
        "bx lr",
    )
}

/// The sums of two outputs for each of `PIXELS` columns.
pub(super) fn sums<const PIXELS: usize>(packed: &[u8], halves: &[u8]) -> [[i32; 2]; 2] {
    let quads = (packed.len() / 8).min(halves.len() / 16);
    let mut sums = [[0; 2]; 2];
    if quads > 0 {
        // SAFETY: `quads` is positive, with 8 bytes of weights and 16 of halfwords each. Both
        // begin on a word: arena and weights do, and their parts have whole words.
        unsafe {
            if PIXELS == 2 {
                two_sums(packed.as_ptr(), halves.as_ptr(), quads, &mut sums);
            } else {
                one_sums(packed.as_ptr(), halves.as_ptr(), quads, &mut sums);
            }
        }
    }
    sums
}

/// # Safety
/// `quads` is positive; 8 * quads bytes at `packed` and 16 * quads at `halves`, both on words.
#[unsafe(naked)]
unsafe extern "C" fn two_sums(
    packed: *const u8,
    halves: *const u8,
    quads: usize,
    sums: &mut [[i32; 2]; 2],
) {
    naked_asm!(
        "push {{r3-r11, lr}}",
        "add lr, r1, r2, lsl #4",
        "mov r8, #0",
        "mov r9, #0",
        "mov r10, #0",
        "mov r11, #0",
        "2:",
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        "cmp r1, lr",
        "sxtb16 r12, r2",
        "sxtb16 r2, r2, ror #8",
        "smlad r8, r12, r4, r8",
        "smlad r9, r12, r5, r9",
        "smlad r8, r2, r6, r8",
        "smlad r9, r2, r7, r9",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "smlad r10, r12, r4, r10",
        "smlad r11, r12, r5, r11",
        "smlad r10, r3, r6, r10",
        "smlad r11, r3, r7, r11",
        "bne 2b",
        // Pixel by pixel, two outputs each.
        "pop {{r3}}",
        "strd r8, r10, [r3]",
        "strd r9, r11, [r3, #8]",
        "pop {{r4-r11, pc}}",
    )
}

/// # Safety
/// As [`two_sums`].
#[unsafe(naked)]
unsafe extern "C" fn one_sums(
    packed: *const u8,
    halves: *const u8,
    quads: usize,
    sums: &mut [[i32; 2]; 2],
) {
    naked_asm!(
        "push {{r4-r7, lr}}",
        "add lr, r1, r2, lsl #4",
        "mov r6, #0",
        "mov r7, #0",
        "2:",
        "ldr r4, [r0], #4",
        "ldr r5, [r0], #4",
        "ldr r2, [r1], #8",
        "sxtb16 r12, r4",
        "smlad r6, r12, r2, r6",
        "sxtb16 r12, r5",
        "smlad r7, r12, r2, r7",
        "ldr r2, [r1], #8",
        "sxtb16 r4, r4, ror #8",
        "cmp r1, lr",
        "smlad r6, r4, r2, r6",
        "sxtb16 r5, r5, ror #8",
        "smlad r7, r5, r2, r7",
        "bne 2b",
        "strd r6, r7, [r3]",
        "pop {{r4-r7, pc}}",
    )
}

/// Two pixels of a layer.
pub(super) struct Pairs<'a> {
    pub by: Factors<'a, 2>,
    pub halves: &'a [u8],
    pub plain: Plain,
}

/// What [`even_pixels`] reads; its order is that of the assembly.
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
        // SAFETY: `quads` and `pairs` are positive; there are 16 * quads bytes of halfwords, as
        // many weights as pairs times 8 * quads, and a block of scales and two bytes of either output
        // per pair. All but the outputs begin on words.
        unsafe {
            if quads.is_multiple_of(2) {
                even_pixels(&call);
            } else {
                odd_pixels(&call);
            }
        }
        self.plain.limit(&mut one[..2 * pairs]);
        self.plain.limit(&mut two[..2 * pairs]);
        pairs
    }
}

/// Defines a function that computes the outputs of two pixels. `$entry` goes to the second half of
/// the unrolled loop where a column has an odd number of words.
macro_rules! two_pixels {
    ($(#[$doc:meta])* $name:ident $entry:literal) => {
        $(#[$doc])*
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &PairsCall) {
            naked_asm!(
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
        "sxtb16 r12, r2",
        "sxtb16 r2, r2, ror #8",
        "smlad r8, r12, r4, r8",
        "smlad r9, r12, r5, r9",
        "smlad r8, r2, r6, r8",
        "smlad r9, r2, r7, r9",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "smlad r10, r12, r4, r10",
        "smlad r11, r12, r5, r11",
        "smlad r10, r3, r6, r10",
        "smlad r11, r3, r7, r11",
        "4:",
        "ldmia r0!, {{r2, r3}}",
        "ldmia r1!, {{r4-r7}}",
        "cmp r1, lr",
        "sxtb16 r12, r2",
        "sxtb16 r2, r2, ror #8",
        "smlad r8, r12, r4, r8",
        "smlad r9, r12, r5, r9",
        "smlad r8, r2, r6, r8",
        "smlad r9, r2, r7, r9",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "smlad r10, r12, r4, r10",
        "smlad r11, r12, r5, r11",
        "smlad r10, r3, r6, r10",
        "smlad r11, r3, r7, r11",
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
    /// The call's ends lie behind their beginnings, by whole pairs and an even number of words;
    /// all of what it points to is there.
    even_pixels ""
}

two_pixels! {
    /// # Safety
    /// As [`even_pixels`], with an odd number of words.
    odd_pixels "b 4f"
}

/// Channels of pixels side by side of a depthwise layer, by four.
pub(super) struct Blocks<'a> {
    pub patch: Patch<'a>,
    pub by: Factors<'a, 4>,
    pub plain: Plain,
}

/// What [`any_window`] reads and counts in; its order is that of the assembly.
#[repr(C)]
struct BlocksCall {
    packed: *const u8,
    input: *const u8,
    scales: *const Scales<4>,
    scales_end: *const Scales<4>,
    output: *mut u8,
    offset: i32,
    shift: u32,
    rows: usize,
    columns: usize,
    beside: usize,
    /// Bytes from where a row ends in the loop to the next row.
    back: isize,
    /// The input of the first channel.
    window: *const u8,
    /// Bytes to the next pixel's window.
    next: usize,
    first_scales: *const Scales<4>,
    pixels: usize,
}

impl Blocks<'_> {
    /// Computes the outputs of as many whole pixels as `to` has, if the channels come in fours;
    /// otherwise the fours of one pixel. Returns the number of fours per pixel.
    pub fn multiply(&self, to: &mut [u8]) -> usize {
        let [rows, columns] = self.patch.positions;
        let [down, beside] = self.patch.steps;
        let (positions, channels) = (rows * columns, self.by.outputs);
        let fours = (channels / 4).min(self.by.packed.len() / (4 * positions).max(1));
        let fours = fours.min(self.by.scales.len());
        let pixels = match 4 * fours == channels {
            true => to.len() / channels.max(1),
            false => usize::from(to.len() >= channels),
        };
        if positions == 0 || fours == 0 || pixels == 0 {
            return 0;
        }
        let last = (rows - 1) * down + (columns - 1) * beside + (pixels - 1) * self.patch.next;
        if self.patch.bytes.len() < last + 4 * fours {
            return 0;
        }
        let scales = self.by.scales[..fours].as_ptr_range();
        let input = self.patch.bytes.as_ptr();
        // The loop over three positions does not move along a row.
        let moved = if columns == 3 { 0 } else { columns * beside };
        let mut call = BlocksCall {
            packed: self.by.packed.as_ptr(),
            input,
            scales: scales.start,
            scales_end: scales.end,
            output: to.as_mut_ptr(),
            offset: self.plain.offset,
            shift: self.plain.shift,
            rows,
            columns,
            beside,
            back: down as isize - moved as isize,
            window: input,
            next: self.patch.next,
            first_scales: scales.start,
            pixels,
        };
        // SAFETY: rows, columns, fours and pixels are positive; the last window's channels lie in
        // the patch; there are weights and scales for all fours, and outputs for all pixels.
        // Weights and scales begin on words.
        unsafe {
            match [rows, columns] {
                [3, 3] => three_by_three(&mut call),
                [_, 3] => three_columns(&mut call),
                _ => any_window(&mut call),
            }
        }
        self.plain.limit(&mut to[..pixels * 4 * fours]);
        fours
    }
}

/// # Safety
/// The counts of the call are positive; all of what it points to is there.
#[unsafe(naked)]
unsafe extern "C" fn any_window(call: &mut BlocksCall) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "ldr r11, [r0]",
        "2:",
        // Bias of four channels.
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0, #4]",
        "ldmia r2, {{r4-r7}}",
        "ldr r10, [r0, #28]",
        "ldr r12, [r0, #36]",
        "3:",
        "ldr lr, [r0, #32]",
        "4:",
        "ldr r2, [r1]",
        "ldr r3, [r11], #4",
        "add r1, r12",
        "subs lr, #1",
        "sxtb16 r8, r2",
        "sxtb16 r9, r3",
        "sxtb16 r2, r2, ror #8",
        "sxtb16 r3, r3, ror #8",
        "smlabb r4, r8, r9, r4",
        "smlatt r6, r8, r9, r6",
        "smlabb r5, r2, r3, r5",
        "smlatt r7, r2, r3, r7",
        "bne 4b",
        "ldr r2, [r0, #40]",
        "subs r10, #1",
        "add r1, r2",
        "bne 3b",
        "ldrd r1, r2, [r0, #4]",
        "ldrd r8, r9, [r0, #20]",
        "adds r1, #4",
        "adds r2, #16",
        "ldmia r2!, {{r3, r10, r12, lr}}",
        "smmla r4, r4, r3, r8",
        "smmla r5, r5, r10, r8",
        "smmla r6, r6, r12, r8",
        "smmla r7, r7, lr, r8",
        "strd r1, r2, [r0, #4]",
        "ldrd r3, r10, [r0, #12]",
        "asr r4, r4, r9",
        "asr r5, r5, r9",
        "asr r6, r6, r9",
        "asr r7, r7, r9",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "strb r4, [r10], #1",
        "strb r5, [r10], #1",
        "strb r6, [r10], #1",
        "strb r7, [r10], #1",
        "str r10, [r0, #16]",
        "cmp r2, r3",
        "bne 2b",
        // The next pixel: all channels again, of the next window.
        "ldrd r4, r5, [r0, #44]",
        "ldrd r6, r7, [r0, #52]",
        "adds r4, r5",
        "ldr r11, [r0]",
        "subs r7, #1",
        "str r4, [r0, #4]",
        "str r6, [r0, #8]",
        "str r4, [r0, #44]",
        "str r7, [r0, #56]",
        "bne 2b",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// # Safety
/// As [`any_window`], and there are three columns.
#[unsafe(naked)]
unsafe extern "C" fn three_columns(call: &mut BlocksCall) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "ldr r11, [r0]",
        "2:",
        // Bias of four channels.
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0, #4]",
        "ldmia r2, {{r4-r7}}",
        "ldr lr, [r0, #28]",
        "ldr r10, [r0, #36]",
        "3:",
        "ldmia r11!, {{r3, r8, r9}}",
        "ldr r2, [r1]",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r3, r5",
        "smlatt r7, r2, r3, r7",
        "ldr r2, [r1, r10]",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r8, r5",
        "smlatt r7, r2, r8, r7",
        "ldr r2, [r1, r10, lsl #1]",
        "sxtb16 r12, r9",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r9, r5",
        "smlatt r7, r2, r9, r7",
        "ldr r0, [sp]",
        "subs lr, #1",
        "ldr r2, [r0, #40]",
        "add r1, r2",
        "bne 3b",
        "ldrd r1, r2, [r0, #4]",
        "ldrd r8, r9, [r0, #20]",
        "adds r1, #4",
        "adds r2, #16",
        "ldmia r2!, {{r3, r10, r12, lr}}",
        "smmla r4, r4, r3, r8",
        "smmla r5, r5, r10, r8",
        "smmla r6, r6, r12, r8",
        "smmla r7, r7, lr, r8",
        "strd r1, r2, [r0, #4]",
        "ldrd r3, r10, [r0, #12]",
        "asr r4, r4, r9",
        "asr r5, r5, r9",
        "asr r6, r6, r9",
        "asr r7, r7, r9",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "strb r4, [r10], #1",
        "strb r5, [r10], #1",
        "strb r6, [r10], #1",
        "strb r7, [r10], #1",
        "str r10, [r0, #16]",
        "cmp r2, r3",
        "bne 2b",
        // The next pixel: all channels again, of the next window.
        "ldrd r4, r5, [r0, #44]",
        "ldrd r6, r7, [r0, #52]",
        "adds r4, r5",
        "ldr r11, [r0]",
        "subs r7, #1",
        "str r4, [r0, #4]",
        "str r6, [r0, #8]",
        "str r4, [r0, #44]",
        "str r7, [r0, #56]",
        "bne 2b",
        "pop {{r0, r4-r11, pc}}",
    )
}

/// # Safety
/// As [`any_window`], and there are three rows and columns.
#[unsafe(naked)]
unsafe extern "C" fn three_by_three(call: &mut BlocksCall) {
    naked_asm!(
        "push {{r0, r4-r11, lr}}",
        "ldr r11, [r0]",
        "2:",
        // Bias of four channels.
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0, #4]",
        "ldmia r2, {{r4-r7}}",
        "ldr lr, [r0, #40]",
        "ldr r10, [r0, #36]",
        "ldmia r11!, {{r3, r8, r9}}",
        "ldr r2, [r1]",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r3, r5",
        "smlatt r7, r2, r3, r7",
        "ldr r2, [r1, r10]",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r8, r5",
        "smlatt r7, r2, r8, r7",
        "ldr r2, [r1, r10, lsl #1]",
        "sxtb16 r12, r9",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r9, r5",
        "smlatt r7, r2, r9, r7",
        "add r1, lr",
        "ldmia r11!, {{r3, r8, r9}}",
        "ldr r2, [r1]",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r3, r5",
        "smlatt r7, r2, r3, r7",
        "ldr r2, [r1, r10]",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r8, r5",
        "smlatt r7, r2, r8, r7",
        "ldr r2, [r1, r10, lsl #1]",
        "sxtb16 r12, r9",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r9, r5",
        "smlatt r7, r2, r9, r7",
        "add r1, lr",
        "ldmia r11!, {{r3, r8, r9}}",
        "ldr r2, [r1]",
        "sxtb16 r12, r3",
        "sxtb16 r3, r3, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r3, r5",
        "smlatt r7, r2, r3, r7",
        "ldr r2, [r1, r10]",
        "sxtb16 r12, r8",
        "sxtb16 r8, r8, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r8, r5",
        "smlatt r7, r2, r8, r7",
        "ldr r2, [r1, r10, lsl #1]",
        "sxtb16 r12, r9",
        "sxtb16 r9, r9, ror #8",
        "sxtb16 r0, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r0, r12, r4",
        "smlatt r6, r0, r12, r6",
        "smlabb r5, r2, r9, r5",
        "smlatt r7, r2, r9, r7",
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0, #4]",
        "ldrd r8, r9, [r0, #20]",
        "adds r1, #4",
        "adds r2, #16",
        "ldmia r2!, {{r3, r10, r12, lr}}",
        "smmla r4, r4, r3, r8",
        "smmla r5, r5, r10, r8",
        "smmla r6, r6, r12, r8",
        "smmla r7, r7, lr, r8",
        "strd r1, r2, [r0, #4]",
        "ldrd r3, r10, [r0, #12]",
        "asr r4, r4, r9",
        "asr r5, r5, r9",
        "asr r6, r6, r9",
        "asr r7, r7, r9",
        "ssat r4, #8, r4",
        "ssat r5, #8, r5",
        "ssat r6, #8, r6",
        "ssat r7, #8, r7",
        "strb r4, [r10], #1",
        "strb r5, [r10], #1",
        "strb r6, [r10], #1",
        "strb r7, [r10], #1",
        "str r10, [r0, #16]",
        "cmp r2, r3",
        "bne 2b",
        // The next pixel: all channels again, of the next window.
        "ldrd r4, r5, [r0, #44]",
        "ldrd r6, r7, [r0, #52]",
        "adds r4, r5",
        "ldr r11, [r0]",
        "subs r7, #1",
        "str r4, [r0, #4]",
        "str r6, [r0, #8]",
        "str r4, [r0, #44]",
        "str r7, [r0, #56]",
        "bne 2b",
        "pop {{r0, r4-r11, pc}}",
    )
}
