//! Sums of columns, and the halfwords of a column alone. Each loop is behind a function that is
//! safe: lengths are checked before.

use core::arch::naked_asm;

/// Extends the bytes of one column alone to halfwords: its words follow each other. Returns the
/// bytes passed in `to`.
pub(super) fn extend_alone(from: &[u8], to: &mut [u8]) -> usize {
    let words = (from.len() / 4).min(to.len() / 8);
    if words == 0 {
        return 0;
    }
    // SAFETY: `words` is positive; `from` has 4 * words bytes and `to` twice as many, on words.
    unsafe { extend_alone_words(from.as_ptr(), to.as_mut_ptr(), words) };
    8 * words
}

/// # Safety
/// `words` is positive; 4 * words bytes at `from`, 8 * words bytes at `to`, which begins on a word.
// SAFETY: the code keeps to the calling convention and returns.
#[unsafe(naked)]
unsafe extern "C" fn extend_alone_words(from: *const u8, to: *mut u8, words: usize) {
    naked_asm!(
        machine!(),
        // Two words a round, the first round half as long where they are odd.
        "lsrs r2, #1",
        "bcc 3f",
        "ldr r12, [r0], #4",
        "sxtb16 r3, r12",
        "sxtb16 r12, r12, ror #8",
        "stmia r1!, {{r3, r12}}",
        "beq 4f",
        "3:",
        "ldr r12, [r0], #4",
        "sxtb16 r3, r12",
        "sxtb16 r12, r12, ror #8",
        "stmia r1!, {{r3, r12}}",
        "ldr r12, [r0], #4",
        "subs r2, #1",
        "sxtb16 r3, r12",
        "sxtb16 r12, r12, ror #8",
        "stmia r1!, {{r3, r12}}",
        "bne 3b",
        "4:",
        "bx lr",
    )
}

/// The sums of two outputs for each of two columns, or the first of them.
pub(super) fn sums(pixels: usize, packed: &[u8], halves: &[u8]) -> [[i32; 2]; 2] {
    let quads = (packed.len() / 8).min(halves.len() / 16);
    let mut sums = [[0; 2]; 2];
    if quads > 0 {
        // SAFETY: `quads` is positive, with 8 bytes of weights and 16 of halfwords each. Both
        // begin on a word: arena and weights do, and their parts have whole words.
        unsafe {
            if pixels == 2 {
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
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn two_sums(
    packed: *const u8,
    halves: *const u8,
    quads: usize,
    sums: &mut [[i32; 2]; 2],
) {
    naked_asm!(
        machine!(),
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
        quad!(),
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
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn one_sums(
    packed: *const u8,
    halves: *const u8,
    quads: usize,
    sums: &mut [[i32; 2]; 2],
) {
    naked_asm!(
        machine!(),
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
