//! The rows of windows that lie within an image, extended to halfwords or copied. Each loop is
//! behind a function that is safe: lengths are checked before.

use core::arch::naked_asm;

use crate::kernels::factors::Rows;

/// Whether there are rows, and `room` bytes of a column take them.
#[inline(always)]
fn fit(rows: Rows<'_>, room: usize) -> bool {
    let others = rows.count.wrapping_sub(1);
    rows.count > 0
        && rows.len > 0
        && rows.bytes.len() >= others * rows.step + rows.len
        && room >= rows.ahead + others * rows.pitch + rows.len
}

/// Extends rows of whole words to their places in a column: of each four bytes, the words go to 0
/// and 8, and so on. Returns whether there are rows and room for them.
#[inline(always)]
pub(super) fn extend(rows: Rows<'_>, to: &mut [u8]) -> bool {
    let words = rows.len / 4;
    // The last word of a column is written at 4 bytes less than four times its entries.
    let is_there = words > 0 && fit(rows, (to.len() + 4) / 4);
    if is_there && let Some(to) = to.get_mut(4 * rows.ahead..) {
        let call = ExtendCall {
            to: to.as_mut_ptr(),
            words,
            rows: rows.count,
            skip: rows.step.wrapping_sub(4 * words),
            skip_to: 4 * rows.pitch.wrapping_sub(rows.len),
        };
        // SAFETY: words and rows are positive; the rows are there, and the last word written does
        // not end beyond `to`. Any alignment is allowed for single words.
        unsafe { extend_rows(rows.bytes.as_ptr(), &call) };
        return true;
    }
    false
}

/// As [`extend`], of bytes one behind the other, as many as fit. Returns the bytes passed in `to`.
#[inline(always)]
pub(super) fn extend_bytes(from: &[u8], to: &mut [u8]) -> usize {
    let words = (from.len() / 4).min((to.len() + 4) / 16);
    if words > 0 {
        let call = ExtendCall {
            to: to.as_mut_ptr(),
            words,
            rows: 1,
            skip: 0,
            skip_to: 0,
        };
        // SAFETY: `words` is positive; `from` has 4 * words bytes; the last word written ends at
        // 16 * words - 4, which is not beyond `to`. Any alignment is allowed for single words.
        unsafe { extend_rows(from.as_ptr(), &call) };
    }
    16 * words
}

/// Copies rows to their places in a column.
#[inline(always)]
pub(super) fn copy(rows: Rows<'_>, to: &mut [u8]) {
    if fit(rows, to.len())
        && let Some(to) = to.get_mut(rows.ahead..)
    {
        let call = CopyCall {
            rows: rows.count,
            step: rows.step,
            pitch: rows.pitch,
        };
        // SAFETY: rows and their bytes are positive in number, and are there; `to`, which is
        // exclusive, takes them.
        unsafe { copy_rows(rows.bytes.as_ptr(), to.as_mut_ptr(), rows.len, &call) };
    }
}

/// Sets the words of `count` pairs of entries of a column to one byte, extended.
#[inline(always)]
pub(super) fn fill_halves(to: &mut [u8], byte: u8, count: usize) {
    let half = u32::from(i16::from(byte as i8) as u16);
    // The last word is written at 8 * count - 8.
    let count = count.min((to.len() + 4) / 8);
    if count > 0 {
        // SAFETY: `count` is positive; the last word written ends at 8 * count - 4, which is not
        // beyond `to`, whose words begin on words.
        unsafe { fill_words(to.as_mut_ptr(), half | half << 16, count) };
    }
}

/// Sets all bytes of a slice, few of them, to one.
#[inline(always)]
pub(super) fn fill(to: &mut [u8], byte: u8) {
    if !to.is_empty() {
        let word = u32::from_ne_bytes([byte; 4]);
        // SAFETY: the slice has as many bytes, one at least.
        unsafe { fill_bytes(to.as_mut_ptr(), word, to.len()) };
    }
}

/// What [`extend_rows`] reads; its order is that of the assembly.
#[repr(C)]
struct ExtendCall {
    to: *mut u8,
    words: usize,
    rows: usize,
    /// Bytes between two rows, of the image and of the column.
    skip: usize,
    skip_to: usize,
}

/// # Safety
/// `words` and `rows` are positive; at `from` there are rows of 4 * words bytes with `skip` bytes
/// between them, and at `to` room for 16 * words - 4 bytes of each with `skip_to` and 4 between.
// SAFETY: the code keeps to the calling convention: it restores r4 to r7 and returns.
#[unsafe(naked)]
unsafe extern "C" fn extend_rows(from: *const u8, call: &ExtendCall) {
    naked_asm!(
        machine!(),
        "push {{r4-r7, lr}}",
        "ldmia r1, {{r1, r2, r3, r5, r6}}",
        "2:",
        // Two words a round, the first round half as long where they are odd.
        "lsrs r4, r2, #1",
        "bcc 3f",
        "ldr r12, [r0], #4",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "str lr, [r1], #8",
        "str r12, [r1], #8",
        "beq 4f",
        "3:",
        "ldr r12, [r0], #4",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "str lr, [r1], #8",
        "str r12, [r1], #8",
        "ldr r12, [r0], #4",
        "subs r4, #1",
        "sxtb16 lr, r12",
        "sxtb16 r12, r12, ror #8",
        "str lr, [r1], #8",
        "str r12, [r1], #8",
        "bne 3b",
        "4:",
        "add r0, r5",
        "add r1, r6",
        "subs r3, #1",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}

/// Extends the bytes in r12 to the words at two offsets.
macro_rules! put {
    ($one:literal, $two:literal) => {
        concat!(
            "sxtb16 r4, r12\n",
            "sxtb16 r12, r12, ror #8\n",
            concat!("str r4, [r1, #", $one, "]\n"),
            concat!("str r12, [r1, #", $two, "]\n"),
        )
    };
}

/// Extends three rows of nine bytes, which fill a column: what a window of 3x3 covers of an image
/// of three channels.
///
/// # Safety
/// Nine bytes at `from`, at `step` and at 2 * step, where `step` is positive; 108 bytes at `to`.
// SAFETY: the code keeps to the calling convention: it restores r4 and r5 and returns.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn three_of_nine(from: *const u8, to: *mut u8, step: usize) {
    naked_asm!(
        machine!(),
        "push {{r4, r5}}",
        "add r3, r0, r2, lsl #1",
        "add r2, r0",
        "ldr r12, [r0]",
        put!("0", "8"),
        "ldr r12, [r0, #4]",
        put!("16", "24"),
        // The last byte of a row before three of the next.
        "ldrb r5, [r0, #8]",
        "ldr r12, [r2, #-1]",
        "bfi r12, r5, #0, #8",
        put!("32", "40"),
        "ldr r12, [r2, #3]",
        put!("48", "56"),
        "ldrh r12, [r2, #7]",
        "ldrh r5, [r3]",
        "orr r12, r12, r5, lsl #16",
        put!("64", "72"),
        "ldr r12, [r3, #2]",
        put!("80", "88"),
        // Three bytes, and a zero.
        "ldr r12, [r3, #5]",
        "lsr r12, r12, #8",
        put!("96", "104"),
        "pop {{r4, r5}}",
        "bx lr",
    )
}

/// What [`copy_rows`] reads; its order is that of the assembly.
#[repr(C)]
struct CopyCall {
    rows: usize,
    /// Bytes from a row to the next, of the image and of the column.
    step: usize,
    pitch: usize,
}

/// # Safety
/// `rows` and `len` are positive; `len` bytes at `from` and every `step` bytes behind it, and as
/// many at `to`, which is elsewhere, every `pitch` bytes.
// SAFETY: the code keeps to the calling convention: it restores r4 to r8 and returns.
#[unsafe(naked)]
unsafe extern "C" fn copy_rows(from: *const u8, to: *mut u8, len: usize, call: &CopyCall) {
    naked_asm!(
        "push {{r4-r8, lr}}",
        "ldmia r3, {{r3, r7, r8}}",
        "2:",
        // The last word first; the others may overlap it.
        "subs r6, r2, #4",
        "blt 5f",
        "ldr r5, [r0, r6]",
        "str r5, [r1, r6]",
        "beq 4f",
        "mov r4, #0",
        "3:",
        "ldr r5, [r0, r4]",
        "str r5, [r1, r4]",
        "adds r4, #4",
        "cmp r4, r6",
        "blt 3b",
        "4:",
        "add r0, r7",
        "add r1, r8",
        "subs r3, #1",
        "bne 2b",
        "pop {{r4-r8, pc}}",
        // Less than a word.
        "5:",
        "subs r4, r2, #1",
        "6:",
        "ldrb r5, [r0, r4]",
        "strb r5, [r1, r4]",
        "subs r4, #1",
        "bpl 6b",
        "b 4b",
    )
}

/// # Safety
/// `count` words, one at least, every 8 bytes, on words.
// SAFETY: the code keeps to the calling convention and returns.
#[unsafe(naked)]
unsafe extern "C" fn fill_words(to: *mut u8, word: u32, count: usize) {
    naked_asm!(
        "lsrs r2, #1",
        "bcc 2f",
        "str r1, [r0], #8",
        "beq 3f",
        "2:",
        "str r1, [r0], #8",
        "subs r2, #1",
        "str r1, [r0], #8",
        "bne 2b",
        "3:",
        "bx lr",
    )
}

/// # Safety
/// `len` bytes, one at least.
// SAFETY: the code keeps to the calling convention and returns.
#[unsafe(naked)]
unsafe extern "C" fn fill_bytes(to: *mut u8, word: u32, len: usize) {
    naked_asm!(
        "subs r2, #4",
        "blt 4f",
        // The last word first; the others may overlap it.
        "str r1, [r0, r2]",
        "beq 3f",
        "2:",
        "str r1, [r0], #4",
        "subs r2, #4",
        "bgt 2b",
        "3:",
        "bx lr",
        // Less than a word.
        "4:",
        "adds r2, #4",
        "5:",
        "strb r1, [r0], #1",
        "subs r2, #1",
        "bne 5b",
        "bx lr",
    )
}
