//! Outputs of one or two pixels, by four.

use core::arch::naked_asm;

use super::limits::Limits;
use crate::kernels::factors::{Factors, Scales};

/// Entries of a column that are multiplied at a time.
const STEP: usize = 16;

/// Pixels of a layer.
pub(super) struct Pixels<'a, const PIXELS: usize> {
    pub by: Factors<'a, 2>,
    pub columns: [&'a [u8]; PIXELS],
}

/// What the functions read and count in; its order is that of the assembly.
#[repr(C)]
struct PixelsCall {
    one: *const u8,
    two: *const u8,
    /// Sixteens of a column, and the words behind the last.
    steps: usize,
    words: usize,
    limits: Limits,
    /// The outputs' next bytes.
    to_one: *mut u8,
    to_two: *mut u8,
    packed: *const u8,
    scales: *const Scales<2>,
    outputs: usize,
    /// Where four multipliers are in two blocks of scales.
    multipliers: [u32; 4],
}

/// A block of scales has two biases and two multipliers.
const MULTIPLIERS: [u32; 4] = [8, 12, 24, 28];

impl<const PIXELS: usize> Pixels<'_, PIXELS> {
    /// Computes all outputs of the group. Returns whether it did: it does not if a length is
    /// unusual.
    pub fn multiply(&self, limits: Limits, to: &mut [&mut [u8]; PIXELS]) -> bool {
        let by = self.by;
        let len = self.columns.iter().map(|column| column.len()).min();
        let len = len.unwrap_or(0);
        let pairs = by.outputs.div_ceil(2);
        let is_whole = len > 0
            && len.is_multiple_of(4)
            && by.outputs > 0
            && by.packed.len() >= pairs * 2 * len
            && by.scales.len() >= pairs
            && to.iter().all(|to| to.len() >= by.outputs);
        if !is_whole {
            return false;
        }
        let two = PIXELS - 1;
        let to_one = to[0].as_mut_ptr();
        let mut call = PixelsCall {
            one: self.columns[0].as_ptr(),
            two: self.columns[two].as_ptr(),
            steps: len / STEP,
            words: len % STEP / 4,
            limits,
            to_one,
            to_two: to[two].as_mut_ptr(),
            packed: by.packed.as_ptr(),
            scales: by.scales.as_ptr(),
            outputs: by.outputs,
            multipliers: MULTIPLIERS,
        };
        // SAFETY: there are `outputs` bytes for each pixel, columns of `len` bytes, and for every
        // two outputs 2 * len weights and a block of scales. Columns, weights and scales begin on
        // words: arena and weights do, and their parts have whole words.
        unsafe {
            if PIXELS == 2 {
                two_pixels(&mut call);
            } else {
                one_pixel(&mut call);
            }
        }
        true
    }
}

/// The sums of two outputs for a column.
pub(super) fn sums(packed: &[u8], column: &[u8]) -> [i32; 2] {
    let len = (packed.len() / 8).min(column.len() / 4) * 4;
    let mut sums = [0; 2];
    // SAFETY: there are `len` bytes of the column and twice as many of weights, on words.
    unsafe {
        one_sums(
            packed.as_ptr(),
            column.as_ptr(),
            [len / STEP, len % STEP / 4].as_ptr(),
            &mut sums,
        );
    }
    sums
}

/// Offsets of every other word, into q6; r6 is free.
macro_rules! every_other {
    () => {
        "mov r6, #0\nvidup.u32 q6, r6, #8\n"
    };
}

/// Adds the products of a column from r1 on with the weights of two outputs from r0 on to r4 and
/// r6: lr times sixteen of them, then r7 words.
macro_rules! one_column {
    () => {
        concat!(
            "wls lr, lr, 5f\n",
            "4:\n",
            "vld20.32 {{q0, q1}}, [r0]\n",
            "vld21.32 {{q0, q1}}, [r0]!\n",
            "vldrb.u8 q2, [r1], #16\n",
            "vmladava.s8 r4, q0, q2\n",
            "vmladava.s8 r6, q1, q2\n",
            "le lr, 4b\n",
            "5:\n",
            "cbz r7, 6f\n",
            "vctp.32 r7\n",
            "add r9, r0, #4\n",
            "vpsttt\n",
            "vldrwt.u32 q0, [r0, q6]\n",
            "vldrwt.u32 q1, [r9, q6]\n",
            "vldrwt.u32 q2, [r1]\n",
            "vmladava.s8 r4, q0, q2\n",
            "vmladava.s8 r6, q1, q2\n",
            "add r0, r0, r7, lsl #3\n",
            "6:\n",
        )
    };
}

/// As [`one_column`], and a second one from r2 on to r8 and r10.
macro_rules! two_columns {
    () => {
        concat!(
            "mov r8, r4\n",
            "mov r10, r6\n",
            "wls lr, lr, 5f\n",
            "4:\n",
            "vld20.32 {{q0, q1}}, [r0]\n",
            "vld21.32 {{q0, q1}}, [r0]!\n",
            "vldrb.u8 q2, [r1], #16\n",
            "vmladava.s8 r4, q0, q2\n",
            "vldrb.u8 q3, [r2], #16\n",
            "vmladava.s8 r6, q1, q2\n",
            "vmladava.s8 r8, q0, q3\n",
            "vmladava.s8 r10, q1, q3\n",
            "le lr, 4b\n",
            "5:\n",
            "cbz r7, 6f\n",
            "vctp.32 r7\n",
            "add r9, r0, #4\n",
            "vpstttt\n",
            "vldrwt.u32 q0, [r0, q6]\n",
            "vldrwt.u32 q1, [r9, q6]\n",
            "vldrwt.u32 q2, [r1]\n",
            "vldrwt.u32 q3, [r2]\n",
            "vmladava.s8 r4, q0, q2\n",
            "vmladava.s8 r6, q1, q2\n",
            "vmladava.s8 r8, q0, q3\n",
            "vmladava.s8 r10, q1, q3\n",
            "add r0, r0, r7, lsl #3\n",
            "6:\n",
        )
    };
}

/// Keeps the sums of a pair of the first pixel, at this place of the stack.
macro_rules! keep_one {
    ($one:literal, $two:literal) => {
        concat!("strd r4, r6, [sp, #", $one, "]\n")
    };
}

/// As [`keep_one`], of both pixels.
macro_rules! keep_two {
    ($one:literal, $two:literal) => {
        concat!(
            concat!("strd r4, r6, [sp, #", $one, "]\n"),
            concat!("strd r8, r10, [sp, #", $two, "]\n"),
        )
    };
}

/// Rounds and stores four outputs of the first pixel; multipliers in q2, their number in r5.
macro_rules! store_one {
    () => {
        concat!(
            "vldrw.u32 q0, [sp]\n",
            "ldr r1, [r3, #32]\n",
            rounded!("q0", "q2"),
            "vpst\n",
            "vstrbt.32 q0, [r1], #4\n",
            "str r1, [r3, #32]\n",
        )
    };
}

/// As [`store_one`], of both pixels.
macro_rules! store_two {
    () => {
        concat!(
            "vldrw.u32 q0, [sp]\n",
            "vldrw.u32 q1, [sp, #16]\n",
            "ldrd r1, r2, [r3, #32]\n",
            rounded!("q0", "q2"),
            rounded!("q1", "q2"),
            "vpstt\n",
            "vstrbt.32 q0, [r1], #4\n",
            "vstrbt.32 q1, [r2], #4\n",
            "strd r1, r2, [r3, #32]\n",
        )
    };
}

/// Sums of two outputs: their biases from r11 on.
macro_rules! pair {
    ($columns:ident, $keep:ident, $one:literal, $two:literal) => {
        concat!(
            "ldrd r1, r2, [r3]\n",
            "ldrd lr, r7, [r3, #8]\n",
            $columns!(),
            $keep!($one, $two),
        )
    };
}

/// Defines a function that computes the outputs of pixels.
macro_rules! pixels {
    ($(#[$doc:meta])* $name:ident $columns:ident $keep:ident $store:ident) => {
        $(#[$doc])*
        // SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
        #[unsafe(naked)]
        unsafe extern "C" fn $name(call: &mut PixelsCall) {
            naked_asm!(
                machine!(),
                "push {{r4-r11, lr}}",
                "sub sp, #36",
                "mov r3, r0",
                every_other!(),
                "ldrd r1, r2, [r3, #24]",
                "vdup.32 q4, r1",
                "vdup.32 q5, r2",
                "vldrw.u32 q7, [r3, #52]",
                "ldrd r0, r11, [r3, #40]",
                "ldr r5, [r3, #48]",
                "2:",
                "ldrd r4, r6, [r11]",
                pair!($columns, $keep, "0", "16"),
                "cmp r5, #2",
                "ble 3f",
                "ldrd r4, r6, [r11, #16]",
                pair!($columns, $keep, "8", "24"),
                "3:",
                "ldrd r9, r12, [r3, #16]",
                "vctp.32 r5",
                "vpst",
                "vldrwt.u32 q2, [r11, q7]",
                $store!(),
                "add r11, #32",
                "subs r5, #4",
                "bgt 2b",
                "add sp, #36",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

pixels! {
    /// # Safety
    /// The pointers are valid for the numbers of the call. All are positive, except that one of
    /// `steps` and `words` may be 0.
    one_pixel one_column keep_one store_one
}

pixels! {
    /// # Safety
    /// As [`one_pixel`].
    two_pixels two_columns keep_two store_two
}

/// # Safety
/// 16 * steps + 4 * words bytes at `column` and twice as many at `packed`, on words; `counts` are
/// steps and words.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn one_sums(
    packed: *const u8,
    column: *const u8,
    counts: *const usize,
    sums: &mut [i32; 2],
) {
    naked_asm!(
        machine!(),
        "push {{r4, r6, r7, r9, r11, lr}}",
        every_other!(),
        "ldrd lr, r7, [r2]",
        "mov r4, #0",
        "mov r6, #0",
        one_column!(),
        "strd r4, r6, [r3]",
        "pop {{r4, r6, r7, r9, r11, pc}}",
    )
}
