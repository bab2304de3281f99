//! Fatal errors: the firmware reports them to the agent, then stays in a loop.

use core::panic::PanicInfo;

use crate::{commands, rtt};

/// The fault status of an Armv7-M or later; an Armv6-M reads zero.
const CFSR: *const u32 = 0xe000_ed28 as *const u32;

/// Reports a fault of the core.
///
/// # Safety
/// Only the core may enter it, as an exception.
pub unsafe extern "C" fn handler() -> ! {
    let status = if cfg!(armv6m) {
        0
    } else {
        // SAFETY: the register exists on these cores, and reading it changes nothing.
        unsafe { CFSR.read_volatile() }
    };
    end(commands::FAULTED, status)
}

#[panic_handler]
fn panicked(info: &PanicInfo<'_>) -> ! {
    let line = info.location().map_or(0, core::panic::Location::line);
    end(commands::PANICKED, line)
}

fn end(status: u32, detail: u32) -> ! {
    rtt::Channel::again().send(&[status, detail, 0, 0, 0, 0, 0, 0]);
    loop {
        core::hint::spin_loop();
    }
}
