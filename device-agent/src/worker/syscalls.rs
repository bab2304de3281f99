//! Denies system calls that a worker does not need, by seccomp.
//!
//! The list names denied calls rather than allowed ones: vendors' libraries make calls that
//! cannot be foreseen, and a worker killed by one would measure nothing. `seccompiler` is not
//! used because it does not support 32-bit ARM.

use libc::{c_long, sock_filter, sock_fprog};
use nix::errno::Errno;

use super::layer::Missing;

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

/// Denied with `EPERM` whatever their arguments.
const DENIED: &[c_long] = &[
    // The network, and io_uring, which would bypass it all.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_accept4,
    libc::SYS_io_uring_setup,
    // Other programs and processes.
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_fork,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kill,
    // The agent kills a worker by its group.
    libc::SYS_setsid,
    libc::SYS_setpgid,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    // The file system as a whole, and rights on it, which Landlock does not restrict.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_chmod,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_chown,
    #[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
    libc::SYS_lchown,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_setxattr,
    libc::SYS_lsetxattr,
    libc::SYS_fsetxattr,
    // The system.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_acct,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
];

/// The denied calls that a library with a local socket needs. The socket stays unreachable: the
/// name it binds is in the worker's folder or abstract, and `accept4` and `connect` remain
/// denied.
const LOCAL_SOCKETS: &[c_long] = &[libc::SYS_socket, libc::SYS_bind, libc::SYS_listen];

/// Offsets in `struct seccomp_data`: of the number, the architecture, and the low half of the
/// first argument. Every architecture above is little-endian.
const NUMBER: u32 = 0;
const AUDIT: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

/// Denies the calls to all threads of this process, irrevocably. With `local_sockets`, local
/// sockets may be opened.
pub(super) fn deny(local_sockets: bool) -> Result<(), Missing> {
    let Some(architecture) = ARCHITECTURE else {
        return Err(Missing::not_offered(format!(
            "the system calls of {} are not supported",
            std::env::consts::ARCH
        )));
    };
    let mut filter = filter(architecture, std::process::id(), local_sockets);
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

fn error(number: i32) -> sock_filter {
    end_with(libc::SECCOMP_RET_ERRNO | number as u32)
}

/// Returns the filter's program. `process` is this process, which may signal its own threads.
fn filter(architecture: u32, process: u32, local_sockets: bool) -> Vec<sock_filter> {
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
        error(libc::EPERM),
    ]);
    if local_sockets {
        all.extend([
            skip_unless_equal(libc::SYS_socket as u32, 4),
            load(FIRST_ARGUMENT),
            skip_unless_equal(libc::AF_UNIX as u32, 1),
            allow(),
            error(libc::EPERM),
        ]);
    }
    let allowed = |number: &&c_long| local_sockets && LOCAL_SOCKETS.contains(number);
    for &number in DENIED.iter().filter(|number| !allowed(number)) {
        all.extend([skip_unless_equal(number as u32, 1), error(libc::EPERM)]);
    }
    all.extend([
        // A worker must end with the agent.
        skip_unless_equal(libc::SYS_prctl as u32, 4),
        load(FIRST_ARGUMENT),
        skip_unless_equal(libc::PR_SET_PDEATHSIG as u32, 1),
        error(libc::EPERM),
        load(NUMBER),
        // Its flags are in memory, which a filter cannot read. C libraries fall back to the
        // older call.
        skip_unless_equal(libc::SYS_clone3 as u32, 1),
        error(libc::ENOSYS),
        // A thread is allowed, a process is not.
        skip_unless_equal(libc::SYS_clone as u32, 4),
        load(FIRST_ARGUMENT),
        instruction(
            bpf::JMP | bpf::JSET | bpf::K,
            libc::CLONE_THREAD as u32,
            1,
            0,
        ),
        error(libc::EPERM),
        allow(),
        // A process that aborts signals itself.
        skip_unless_equal(libc::SYS_tgkill as u32, 3),
        load(FIRST_ARGUMENT),
        skip_unless_equal(process, 1),
        allow(),
        // Reached for a thread of another process, and for another call, whose number is
        // reloaded.
        load(NUMBER),
        skip_unless_equal(libc::SYS_tgkill as u32, 1),
        error(libc::EPERM),
        skip_unless_equal(libc::SYS_tkill as u32, 1),
        error(libc::EPERM),
        allow(),
    ]);
    all
}
