//! The vector table and the start of the program.

use core::arch::asm;

use crate::counter;
use crate::fault;

/// Entries before those of a chip's own interrupts, which stay off.
const EXCEPTIONS: usize = 16;

// SAFETY: the linker script defines these symbols, with addresses of words.
unsafe extern "C" {
    static mut _bss_start: u32;
    static mut _bss_end: u32;
    static _stack_top: u32;
}

/// An entry of the vector table.
#[repr(C)]
pub union Vector {
    // SAFETY: a type only. The processor calls the handler of a fault, with the stack set up.
    handler: unsafe extern "C" fn() -> !,
    returning: extern "C" fn(),
    stack: *const u32,
    reserved: usize,
}

// SAFETY: the table is never written.
unsafe impl Sync for Vector {}

const FAULT: Vector = Vector {
    handler: fault::handler,
};
const RESERVED: Vector = Vector { reserved: 0 };

// SAFETY: the section holds nothing else, and the linker script puts it where the core reads it.
#[unsafe(link_section = ".vectors")]
#[used]
static VECTORS: [Vector; EXCEPTIONS] = [
    Vector {
        stack: &raw const _stack_top,
    },
    Vector { handler: reset },
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    FAULT,
    RESERVED,
    RESERVED,
    RESERVED,
    FAULT,
    FAULT,
    RESERVED,
    FAULT,
    Vector {
        returning: counter::systick,
    },
];

/// Clears memory and begins.
///
/// # Safety
/// Only the start of the core may call it: it clears every variable.
// SAFETY: no other symbol has this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn reset() -> ! {
    let mut word = &raw mut _bss_start;
    let end = &raw mut _bss_end;
    while word < end {
        // SAFETY: the linker reserves the words between both symbols for variables, and the program
        // uses no variable yet.
        unsafe {
            word.write_volatile(0);
            word = word.add(1);
        }
    }
    // SAFETY: turning interrupts off touches no memory.
    unsafe { asm!("cpsid i", options(nomem, nostack)) };
    if cfg!(feature = "helium") {
        enable_vectors();
    }
    crate::main()
}

/// Access to coprocessors. Numbers 10 and 11 are the vector extension (Armv8-M Architecture
/// Reference Manual, D1.2.14).
const CPACR: *mut u32 = 0xe000_ed88 as *mut u32;
const CP10_CP11: u32 = 0b1111 << 20;
/// Configuration and control; its bit `LOB` lets loops branch without a delay (D1.2.10).
const CCR: *mut u32 = 0xe000_ed14 as *mut u32;
const LOB: u32 = 1 << 19;

/// Enables the vector extension, which is off after a reset.
fn enable_vectors() {
    // SAFETY: the registers exist on cores with the extension, and the agent starts this firmware
    // on no other. No instruction of the extension has run yet; the barriers come before one.
    unsafe {
        CPACR.write_volatile(CPACR.read_volatile() | CP10_CP11);
        CCR.write_volatile(CCR.read_volatile() | LOB);
        asm!("dsb", "isb", options(nostack));
    }
}
