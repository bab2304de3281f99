//! Records which system calls were denied.
//!
//! A denied call raises `SIGSYS`. The handler notes the call's number and lets the call return
//! `EPERM`, so that a library goes on without it.

use std::ffi::c_void;
use std::sync::atomic::{AtomicU64, Ordering};

use libc::{c_int, c_long, siginfo_t, ucontext_t};
use nix::errno::Errno;

use super::allowed::DENIED_NAMES;

/// Numbers of system calls that are distinguished; larger ones share the last place.
const NUMBERS: usize = 1024;

static DENIED: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

/// Installs the handler for all threads.
pub fn record() -> nix::Result<()> {
    // SAFETY: the structure is valid when all zero.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_denied as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER;
    // SAFETY: the handler has the signature that SA_SIGINFO requires, and only uses atomics and
    // the context that the kernel passes to it.
    let outcome = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut()) };
    Errno::result(outcome).map(drop)
}

/// Notes the number of the denied call and sets its result.
extern "C" fn on_denied(_signal: c_int, _info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: with SA_SIGINFO the kernel passes the context of the interrupted thread, which this
    // thread alone uses until the handler returns.
    let context = unsafe { &mut *context.cast::<ucontext_t>() };
    let number = deny(context).clamp(0, NUMBERS as c_long - 1) as usize;
    DENIED[number / 64].fetch_or(1 << (number % 64), Ordering::Relaxed);
}

/// Lets the interrupted call return `EPERM`, and returns its number.
#[cfg(target_arch = "x86_64")]
fn deny(context: &mut ucontext_t) -> c_long {
    let register = &mut context.uc_mcontext.gregs[libc::REG_RAX as usize];
    std::mem::replace(register, i64::from(-libc::EPERM))
}

#[cfg(target_arch = "aarch64")]
fn deny(context: &mut ucontext_t) -> c_long {
    let registers = &mut context.uc_mcontext.regs;
    registers[0] = i64::from(-libc::EPERM) as u64;
    registers[8] as c_long
}

#[cfg(target_arch = "arm")]
fn deny(context: &mut ucontext_t) -> c_long {
    context.uc_mcontext.arm_r0 = -libc::EPERM as libc::c_ulong;
    context.uc_mcontext.arm_r7 as c_long
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
fn deny(_context: &mut ucontext_t) -> c_long {
    0
}

/// Returns the denied calls by name, or by number where they have none here, each once.
pub fn denied() -> Vec<String> {
    let is_denied =
        |number: usize| DENIED[number / 64].load(Ordering::Relaxed) & (1 << (number % 64)) != 0;
    let name = |number: usize| {
        let mut names = DENIED_NAMES.iter();
        let known = names.find(|(call, _)| *call == number as c_long);
        known.map_or_else(
            || format!("number {number}"),
            |(_, name)| (*name).to_owned(),
        )
    };
    (0..NUMBERS)
        .filter(|&number| is_denied(number))
        .map(name)
        .collect()
}
