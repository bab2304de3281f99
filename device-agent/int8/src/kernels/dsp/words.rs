//! Copying by several words at a time.

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
