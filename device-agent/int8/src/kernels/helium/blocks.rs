//! Depthwise outputs of four channels at a time.

use core::arch::naked_asm;

use super::limits::Limits;
use crate::kernels::factors::{Factors, Patch, Scales};

/// Channels of pixels side by side of a depthwise layer, by four.
pub(super) struct Blocks<'a> {
    pub patch: Patch<'a>,
    pub by: Factors<'a, 4>,
}

/// What the functions read and count in; its order is that of the assembly.
#[repr(C)]
struct BlocksCall {
    /// Bytes to the next position in a row, and from the last one's to the next row.
    beside: usize,
    back: isize,
    rows: usize,
    columns: usize,
    limits: Limits,
    packed: *const u8,
    scales: *const Scales<4>,
    /// The input of the first channel, and bytes to the next pixel's window.
    window: *const u8,
    next: usize,
    output: *mut u8,
    pixels: usize,
    channels: usize,
}

impl Blocks<'_> {
    /// Computes all outputs. Returns whether it did: it does not if a length is unusual.
    pub fn multiply(&self, limits: Limits, to: &mut [u8]) -> bool {
        let [rows, columns] = self.patch.positions;
        let [down, beside] = self.patch.steps;
        let (positions, channels) = (rows * columns, self.by.outputs);
        let fours = channels.div_ceil(4);
        let pixels = to.len() / channels.max(1);
        if positions == 0 || channels == 0 || pixels == 0 {
            return false;
        }
        let last = (rows - 1) * down + (columns - 1) * beside + (pixels - 1) * self.patch.next;
        let is_whole = self.patch.bytes.len() >= last + 4 * fours
            && self.by.packed.len() >= 8 * positions * fours
            && self.by.scales.len() >= fours;
        if !is_whole {
            return false;
        }
        // The loop over three positions does not move along a row.
        let moved = if columns == 3 { 0 } else { columns * beside };
        let mut call = BlocksCall {
            beside,
            back: down as isize - moved as isize,
            rows,
            columns,
            limits,
            packed: self.by.packed.as_ptr(),
            scales: self.by.scales.as_ptr(),
            window: self.patch.bytes.as_ptr(),
            next: self.patch.next,
            output: to.as_mut_ptr(),
            pixels,
            channels,
        };
        // SAFETY: rows, columns, channels and pixels are positive; the last window's channels lie
        // in the patch, up to a multiple of four; there are weights and scales for as many, and
        // outputs for all pixels. Weights and scales begin on words.
        unsafe {
            match columns {
                3 => three_columns(&mut call),
                _ => any_window(&mut call),
            }
        }
        true
    }
}

/// Adds the products of four channels at a position to q0: their bytes at a register, their
/// weights from r1 on.
macro_rules! position {
    ($at:literal) => {
        concat!(
            concat!("vldrb.s32 q2, [", $at, "]\n"),
            "vldrh.s32 q1, [r1], #8\n",
            "vmul.i32 q2, q2, q1\n",
            "vadd.i32 q0, q0, q2\n",
        )
    };
}

/// The positions of a row, r6 of them: r0 moves on by r4 each.
macro_rules! any_row {
    () => {
        concat!(
            "dls lr, r6\n",
            "5:\n",
            position!("r0"),
            "add r0, r4\n",
            "le lr, 5b\n",
        )
    };
}

/// The three positions of a row: r0 stays. Loads that extend have bases up to r7.
macro_rules! row_of_three {
    () => {
        concat!(
            "add r6, r0, r4\n",
            "add r7, r0, r4, lsl #1\n",
            position!("r0"),
            position!("r6"),
            position!("r7"),
        )
    };
}

/// Defines a function that computes the outputs of pixels.
macro_rules! blocks {
    ($(#[$doc:meta])* $name:ident $row:ident $rows:literal) => {
        $(#[$doc])*
        // SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &mut BlocksCall) {
            naked_asm!(
                machine!(),
                "push {{r3-r11, lr}}",
                "mov r3, r0",
                "ldrd r4, r5, [r3]",
                "ldr r6, [r3, #12]",
                "ldrd r9, r12, [r3, #16]",
                "ldrd r1, r2, [r3, #24]",
                "vdup.32 q4, r1",
                "vdup.32 q5, r2",
                "ldr r2, [r3, #48]",
                "2:",
                // A pixel: all channels, from the first weights on.
                "ldrd r1, r11, [r3, #32]",
                "ldr r8, [r3, #40]",
                "ldr r10, [r3, #56]",
                "3:",
                "vldrw.u32 q0, [r11], #16",
                "mov r0, r8",
                concat!("ldr ", $rows, ", [r3, #8]"),
                "4:",
                $row!(),
                "add r0, r5",
                concat!("subs ", $rows, ", #1"),
                "bne 4b",
                "vldrw.u32 q1, [r11], #16",
                "vctp.32 r10",
                "add r8, #4",
                rounded!("q0", "q1"),
                "vpst",
                "vstrbt.32 q0, [r2], #4",
                "subs r10, #4",
                "bgt 3b",
                // It is negative if the last four are fewer.
                "add r2, r10",
                "ldrd r0, r7, [r3, #40]",
                "add r0, r7",
                "str r0, [r3, #40]",
                "ldr r0, [r3, #52]",
                "subs r0, #1",
                "str r0, [r3, #52]",
                "bne 2b",
                "pop {{r3-r11, pc}}",
            )
        }
    };
}

blocks! {
    /// # Safety
    /// The counts of the call are positive; its pointers are valid for them.
    any_window any_row "r7"
}

blocks! {
    /// # Safety
    /// As [`any_window`], and there are three columns.
    three_columns row_of_three "lr"
}
