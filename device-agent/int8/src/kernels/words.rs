//! Copying and filling bytes, with the vector extension by sixteen at a time.
#![cfg_attr(helium, allow(unsafe_code))]

#[cfg(helium)]
use core::arch::naked_asm;

/// Copies as many bytes as both have.
#[cfg(not(helium))]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    to[..len].copy_from_slice(&from[..len]);
}

/// Sets all bytes of a slice to one.
#[cfg(not(helium))]
pub(crate) fn fill(to: &mut [u8], byte: u8) {
    to.fill(byte);
}

/// Copies as many bytes as both have.
#[cfg(helium)]
pub(crate) fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    // SAFETY: both have `len` bytes; one of them is exclusive, so they do not overlap.
    unsafe { copy_bytes(to.as_mut_ptr(), from.as_ptr(), len) };
}

/// Sets all bytes of a slice to one.
#[cfg(helium)]
pub(crate) fn fill(to: &mut [u8], byte: u8) {
    // SAFETY: the slice has as many bytes.
    unsafe { fill_bytes(to.as_mut_ptr(), byte.into(), to.len()) };
}

/// # Safety
/// `len` bytes.
// SAFETY: the code keeps to the calling convention and returns.
#[cfg(helium)]
#[unsafe(naked)]
unsafe extern "C" fn fill_bytes(to: *mut u8, byte: u32, len: usize) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "vdup.8 q0, r1",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r7, pc}}",
    )
}

/// # Safety
/// `len` bytes at either, which do not overlap.
// SAFETY: the code keeps to the calling convention and returns.
#[cfg(helium)]
#[unsafe(naked)]
unsafe extern "C" fn copy_bytes(to: *mut u8, from: *const u8, len: usize) {
    naked_asm!(
        ".cpu cortex-m55",
        "push {{r7, lr}}",
        "wlstp.8 lr, r2, 3f",
        "2:",
        "vldrb.u8 q0, [r1], #16",
        "vstrb.8 q0, [r0], #16",
        "letp lr, 2b",
        "3:",
        "pop {{r7, pc}}",
    )
}
