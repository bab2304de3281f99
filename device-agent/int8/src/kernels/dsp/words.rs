//! Copying and filling by several words at a time.

use core::arch::naked_asm;

/// Bytes of a step.
const STEP: usize = 16;

/// Copies as many bytes as both have.
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    let (to, from) = (&mut to[..len], &from[..len]);
    let on_word = |address: usize| address.is_multiple_of(4);
    let steps = match on_word(to.as_ptr().addr()) && on_word(from.as_ptr().addr()) {
        true => len / STEP,
        false => 0,
    };
    if steps > 0 {
        // SAFETY: `steps` is positive; both slices begin on words and have as many steps; one of
        // them is exclusive, so they do not overlap.
        unsafe { copy_steps(to.as_mut_ptr(), from.as_ptr(), steps) };
    }
    if steps * STEP < len {
        to[steps * STEP..].copy_from_slice(&from[steps * STEP..]);
    }
}

/// Sets all bytes of a slice to one.
pub(crate) fn fill(to: &mut [u8], byte: u8) {
    let steps = match to.as_ptr().addr().is_multiple_of(4) {
        true => to.len() / STEP,
        false => 0,
    };
    if steps > 0 {
        // SAFETY: `steps` is positive; the slice begins on a word and has as many steps.
        unsafe { fill_steps(to.as_mut_ptr(), u32::from_ne_bytes([byte; 4]), steps) };
    }
    if steps * STEP < to.len() {
        to[steps * STEP..].fill(byte);
    }
}

/// # Safety
/// `steps` is positive; 16 * steps bytes, on words.
// SAFETY: the code keeps to the calling convention: it restores r4 and returns.
#[unsafe(naked)]
unsafe extern "C" fn fill_steps(to: *mut u8, word: u32, steps: usize) {
    naked_asm!(
        "push {{r4, lr}}",
        "mov r3, r1",
        "mov r4, r1",
        "mov r12, r1",
        "2:",
        "subs r2, #1",
        "stmia r0!, {{r1, r3, r4, r12}}",
        "bne 2b",
        "pop {{r4, pc}}",
    )
}

/// # Safety
/// `steps` is positive; 16 * steps bytes at either, on words, that do not overlap.
// SAFETY: the code keeps to the calling convention: it restores r4 to r11 and returns.
#[unsafe(naked)]
unsafe extern "C" fn copy_steps(to: *mut u8, from: *const u8, steps: usize) {
    naked_asm!(
        "push {{r4, r5}}",
        "2:",
        "ldmia r1!, {{r3, r4, r5, r12}}",
        "subs r2, #1",
        "stmia r0!, {{r3, r4, r5, r12}}",
        "bne 2b",
        "pop {{r4, r5}}",
        "bx lr",
    )
}
