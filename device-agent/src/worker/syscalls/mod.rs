//! Denies the system calls that a worker does not need, by seccomp.
//!
//! Vendors' libraries make calls that cannot be foreseen. A call that is not allowed therefore
//! returns `EPERM` instead of ending the worker, and [`denied`] names it. `seccompiler` is not
//! used because it does not support 32-bit ARM.

mod allowed;
mod denials;

pub use denials::denied;

use libc::{c_long, sock_filter, sock_fprog};
use nix::errno::Errno;

use super::layer::Missing;
use allowed::{ALLOWED, BY_FIRST_ARGUMENT, LOCAL_SOCKETS, OLDER, OWN};

/// Instruction codes (linux/bpf_common.h). The crate `libc` has them for some of its targets
/// only.
mod bpf {
    pub const LD: u16 = 0x00;
    pub const W: u16 = 0x00;
    pub const ABS: u16 = 0x20;
    pub const JMP: u16 = 0x05;
    pub const JEQ: u16 = 0x10;
    #[cfg(target_arch = "x86_64")]
    pub const JGE: u16 = 0x30;
    pub const JSET: u16 = 0x40;
    pub const K: u16 = 0x00;
    pub const RET: u16 = 0x06;
}

/// The architecture in a filter's data (linux/audit.h); `None`: nothing is denied.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: Option<u32> = Some(0xC000_00B7);
#[cfg(target_arch = "arm")]
const ARCHITECTURE: Option<u32> = Some(0x4000_0028);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
const ARCHITECTURE: Option<u32> = None;

/// The first of a second set of numbers that x86-64 has for the same calls.
#[cfg(target_arch = "x86_64")]
const X32: u32 = 0x4000_0000;

/// Offsets in `struct seccomp_data`: of the number, the architecture, and the low half of the
/// first argument. Every architecture above is little-endian.
const NUMBER: u32 = 0;
const AUDIT: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// The sockets that a worker may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// None.
    None,
    /// Local ones, which it may open.
    Local,
    /// Those that are open.
    #[cfg(feature = "probe")]
    Opened,
}

/// Denies all calls but the allowed ones to all threads of this process, irrevocably.
pub(super) fn deny(sockets: Sockets) -> Result<(), Missing> {
    let Some(architecture) = ARCHITECTURE else {
        return Err(Missing::not_offered(format!(
            "the system calls of {} are not supported",
            std::env::consts::ARCH
        )));
    };
    // A library's threads may block all signals, and a blocked SIGSYS ends the process. CUDA was
    // not tried, so its denied calls return the error without a signal.
    let verdict = if sockets == Sockets::Local {
        error_of(libc::EPERM)
    } else {
        denials::record().map_err(|error| Missing::failed(error.to_string()))?;
        libc::SECCOMP_RET_TRAP
    };
    let mut filter = filter(architecture, std::process::id(), sockets, verdict);
    let len = filter
        .len()
        .try_into()
        .map_err(|_| Missing::failed("the filter is too long"))?;
    let program = sock_fprog {
        len,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: the program and its instructions are valid until the call returns, by which time
    // the kernel has copied them. A rejected filter changes nothing.
    let outcome = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            std::ptr::from_ref(&program),
        )
    };
    match Errno::result(outcome) {
        Ok(0) => Ok(()),
        Ok(thread) => Err(Missing::failed(format!(
            "thread {thread} has a filter of its own"
        ))),
        Err(Errno::ENOSYS | Errno::EINVAL) => Err(Missing::not_offered(
            "the kernel was built without seccomp filters",
        )),
        Err(error) => Err(Missing::failed(error.to_string())),
    }
}

fn instruction(code: u16, k: u32, if_so: u8, if_not: u8) -> sock_filter {
    sock_filter {
        code,
        jt: if_so,
        jf: if_not,
        k,
    }
}

fn load(offset: u32) -> sock_filter {
    instruction(bpf::LD | bpf::W | bpf::ABS, offset, 0, 0)
}

/// Skips the next `count` instructions unless the loaded value is `k`.
fn skip_unless_equal(k: u32, count: u8) -> sock_filter {
    instruction(bpf::JMP | bpf::JEQ | bpf::K, k, 0, count)
}

fn end_with(verdict: u32) -> sock_filter {
    instruction(bpf::RET | bpf::K, verdict, 0, 0)
}

fn error_of(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// Ends with `verdict` for the call `number` unless its first argument is one of `allowed`.
fn by_first_argument(number: c_long, allowed: &[u32], verdict: u32) -> Vec<sock_filter> {
    // Two instructions for each value, the load before them and the verdict behind.
    let len = 2 * allowed.len() as u8 + 2;
    let mut all = vec![skip_unless_equal(number as u32, len), load(FIRST_ARGUMENT)];
    for &value in allowed {
        all.extend([
            skip_unless_equal(value, 1),
            end_with(libc::SECCOMP_RET_ALLOW),
        ]);
    }
    all.push(end_with(verdict));
    all
}

/// Returns the filter's program, which ends with `verdict` for a call that is not allowed.
/// `process` is this process, which may signal its own threads.
fn filter(architecture: u32, process: u32, sockets: Sockets, verdict: u32) -> Vec<sock_filter> {
    let allow = || end_with(libc::SECCOMP_RET_ALLOW);
    let mut all = vec![
        load(AUDIT),
        instruction(bpf::JMP | bpf::JEQ | bpf::K, architecture, 1, 0),
        end_with(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    #[cfg(target_arch = "x86_64")]
    all.extend([
        instruction(bpf::JMP | bpf::JGE | bpf::K, X32, 0, 1),
        end_with(error_of(libc::EPERM)),
    ]);
    let further = match sockets {
        Sockets::None => &[],
        Sockets::Local => LOCAL_SOCKETS,
        #[cfg(feature = "probe")]
        Sockets::Opened => allowed::OPENED_SOCKETS,
    };
    for &number in ALLOWED.iter().chain(OLDER).chain(OWN).chain(further) {
        all.extend([skip_unless_equal(number as u32, 1), allow()]);
    }
    for &(number, values) in BY_FIRST_ARGUMENT {
        all.extend(by_first_argument(number, values, verdict));
    }
    // A process that aborts signals itself.
    all.extend(by_first_argument(libc::SYS_tgkill, &[process], verdict));
    if sockets == Sockets::Local {
        let families = [libc::AF_UNIX as u32];
        all.extend(by_first_argument(libc::SYS_socket, &families, verdict));
    }
    all.extend([
        // Its flags are in memory, which a filter cannot read. C libraries fall back to the
        // older call.
        skip_unless_equal(libc::SYS_clone3 as u32, 1),
        end_with(error_of(libc::ENOSYS)),
        // A thread is allowed, a process is not. C libraries block all signals around these
        // calls, so they never raise one.
        skip_unless_equal(libc::SYS_clone as u32, 4),
        load(FIRST_ARGUMENT),
        instruction(
            bpf::JMP | bpf::JSET | bpf::K,
            libc::CLONE_THREAD as u32,
            0,
            1,
        ),
        allow(),
        end_with(error_of(libc::EPERM)),
    ]);
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    for number in [libc::SYS_fork, libc::SYS_vfork] {
        all.extend([
            skip_unless_equal(number as u32, 1),
            end_with(error_of(libc::EPERM)),
        ]);
    }
    all.push(end_with(verdict));
    all
}
