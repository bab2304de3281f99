//! Depthwise sums of four channels at a time.

use core::arch::naked_asm;

use crate::kernels::factors::{Factors, Patch, Scales};
use crate::requant::Plain;

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
        let fours = (channels / 4).min(self.by.packed.len() / (8 * positions).max(1));
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

/// Adds the products of four channels at one position: their bytes in r2, their weights in two
/// registers, the sums in r4 to r7.
macro_rules! position {
    ($first:literal, $second:literal) => {
        concat!(
            "sxtb16 r0, r2\n",
            "sxtb16 r2, r2, ror #8\n",
            concat!("smlabb r4, r0, ", $first, ", r4\n"),
            concat!("smlabt r5, r2, ", $first, ", r5\n"),
            concat!("smlatb r6, r0, ", $second, ", r6\n"),
            concat!("smlatt r7, r2, ", $second, ", r7\n"),
        )
    };
}

/// Adds the products of three positions that r10 bytes separate, from r1 on; weights from r11 on.
macro_rules! row_of_three {
    () => {
        concat!(
            "ldmia r11!, {{r3, r8, r9, r12}}\n",
            "ldr r2, [r1]\n",
            position!("r3", "r8"),
            "ldr r2, [r1, r10]\n",
            position!("r9", "r12"),
            "ldmia r11!, {{r3, r8}}\n",
            "ldr r2, [r1, r10, lsl #1]\n",
            position!("r3", "r8"),
        )
    };
}

/// Rounds the sums of four channels and stores them. Continues at 2 with the next four, then with
/// the next pixel; returns after the last one.
macro_rules! results {
    () => {
        concat!(
            "ldrd r1, r2, [r0, #4]\n",
            "ldrd r8, r9, [r0, #20]\n",
            "adds r1, #4\n",
            "adds r2, #16\n",
            "ldmia r2!, {{r3, r10, r12, lr}}\n",
            "smmla r4, r4, r3, r8\n",
            "smmla r5, r5, r10, r8\n",
            "smmla r6, r6, r12, r8\n",
            "smmla r7, r7, lr, r8\n",
            "strd r1, r2, [r0, #4]\n",
            "ldrd r3, r10, [r0, #12]\n",
            "asr r4, r4, r9\n",
            "asr r5, r5, r9\n",
            "asr r6, r6, r9\n",
            "asr r7, r7, r9\n",
            "ssat r4, #8, r4\n",
            "ssat r5, #8, r5\n",
            "ssat r6, #8, r6\n",
            "ssat r7, #8, r7\n",
            "strb r4, [r10], #1\n",
            "strb r5, [r10], #1\n",
            "strb r6, [r10], #1\n",
            "strb r7, [r10], #1\n",
            "str r10, [r0, #16]\n",
            "cmp r2, r3\n",
            "bne 2b\n",
            // The next pixel: all channels again, of the next window.
            "ldrd r4, r5, [r0, #44]\n",
            "ldrd r6, r7, [r0, #52]\n",
            "adds r4, r5\n",
            "ldr r11, [r0]\n",
            "subs r7, #1\n",
            "str r4, [r0, #4]\n",
            "str r6, [r0, #8]\n",
            "str r4, [r0, #44]\n",
            "str r7, [r0, #56]\n",
            "bne 2b\n",
            "pop {{r0, r4-r11, pc}}\n",
        )
    };
}

/// # Safety
/// The counts of the call are positive; its pointers are valid for them.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn any_window(call: &mut BlocksCall) {
    naked_asm!(
        machine!(),
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
        "ldmia r11!, {{r3, r9}}",
        "add r1, r12",
        "subs lr, #1",
        "sxtb16 r8, r2",
        "sxtb16 r2, r2, ror #8",
        "smlabb r4, r8, r3, r4",
        "smlabt r5, r2, r3, r5",
        "smlatb r6, r8, r9, r6",
        "smlatt r7, r2, r9, r7",
        "bne 4b",
        "ldr r2, [r0, #40]",
        "subs r10, #1",
        "add r1, r2",
        "bne 3b",
        results!(),
    )
}

/// # Safety
/// As [`any_window`], and there are three columns.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn three_columns(call: &mut BlocksCall) {
    naked_asm!(
        machine!(),
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
        row_of_three!(),
        "ldr r0, [sp]",
        "subs lr, #1",
        "ldr r2, [r0, #40]",
        "add r1, r2",
        "bne 3b",
        results!(),
    )
}

/// # Safety
/// As [`any_window`], and there are three rows and columns.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn three_by_three(call: &mut BlocksCall) {
    naked_asm!(
        machine!(),
        "push {{r0, r4-r11, lr}}",
        "ldr r11, [r0]",
        "2:",
        // Bias of four channels.
        "ldr r0, [sp]",
        "ldrd r1, r2, [r0, #4]",
        "ldmia r2, {{r4-r7}}",
        "ldr lr, [r0, #40]",
        "ldr r10, [r0, #36]",
        row_of_three!(),
        "add r1, lr",
        row_of_three!(),
        "add r1, lr",
        row_of_three!(),
        "ldr r0, [sp]",
        results!(),
    )
}
