//! The system calls that a worker needs.
//!
//! The lists start from a trace of ONNX Runtime 1.30 with its CPU provider on x86-64. The calls
//! that C libraries and allocators make in their place on other kernels and architectures are added
//! from their documentation; other providers were not traced. Landlock also restricts which files a
//! call may reach.

use libc::c_long;

/// Allowed whatever their arguments, the most frequent ones first.
pub const ALLOWED: &[c_long] = &[
    libc::SYS_futex,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_getrusage,
    // Memory.
    libc::SYS_brk,
    #[cfg(not(target_arch = "arm"))]
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_memfd_create,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_mbind,
    // Files.
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_chdir,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_umask,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    // Threads, signals and waiting.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_restart_syscall,
    libc::SYS_sigaltstack,
    libc::SYS_nanosleep,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_eventfd2,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_delete,
    libc::SYS_setitimer,
    libc::SYS_getitimer,
    // Facts about the process and the system.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpriority,
    libc::SYS_getcpu,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_times,
    libc::SYS_gettimeofday,
    libc::SYS_clock_getres,
    libc::SYS_getrandom,
];

/// Older calls that only some architectures have.
#[cfg(any(target_arch = "x86_64", target_arch = "arm"))]
pub const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_unlink,
    libc::SYS_rmdir,
    libc::SYS_mkdir,
    libc::SYS_rename,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_getpgrp,
    libc::SYS_pause,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "arm")))]
pub const OLDER: &[c_long] = &[];

/// Calls that this architecture alone has.
#[cfg(target_arch = "x86_64")]
pub const OWN: &[c_long] = &[
    libc::SYS_arch_prctl,
    libc::SYS_newfstatat,
    libc::SYS_getrlimit,
    libc::SYS_select,
    libc::SYS_time,
];
#[cfg(target_arch = "aarch64")]
pub const OWN: &[c_long] = &[libc::SYS_newfstatat];
#[cfg(target_arch = "arm")]
pub const OWN: &[c_long] = &[
    libc::SYS_mmap2,
    libc::SYS_fstat64,
    libc::SYS_stat64,
    libc::SYS_lstat64,
    libc::SYS_fstatat64,
    libc::SYS_fcntl64,
    libc::SYS__llseek,
    libc::SYS_ftruncate64,
    libc::SYS_statfs64,
    libc::SYS_fstatfs64,
    libc::SYS_sendfile64,
    libc::SYS_ugetrlimit,
    libc::SYS__newselect,
    libc::SYS_getuid32,
    libc::SYS_geteuid32,
    libc::SYS_getgid32,
    libc::SYS_getegid32,
    libc::SYS_clock_gettime64,
    libc::SYS_clock_getres_time64,
    libc::SYS_clock_nanosleep_time64,
    libc::SYS_futex_time64,
    libc::SYS_ppoll_time64,
    libc::SYS_pselect6_time64,
    libc::SYS_rt_sigtimedwait_time64,
    // The kernel's own for ARM: flushing the instruction cache, and the thread's pointer.
    0x000f_0002,
    0x000f_0005,
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "arm")))]
pub const OWN: &[c_long] = &[];

/// `PR_SET_VMA`, by which allocators name their memory.
const PR_SET_VMA: u32 = 0x5356_4d41;

/// Calls that are allowed with these first arguments only.
pub const BY_FIRST_ARGUMENT: &[(c_long, &[u32])] = &[
    // Limits and cores of this process, not of another.
    (libc::SYS_prlimit64, &[0]),
    (libc::SYS_sched_setaffinity, &[0]),
    // Not the signal at the agent's end, which a worker must not lose.
    (
        libc::SYS_prctl,
        &[
            libc::PR_SET_NAME as u32,
            libc::PR_GET_NAME as u32,
            libc::PR_GET_DUMPABLE as u32,
            PR_SET_VMA,
        ],
    ),
];

/// Further calls of a library that needs a local socket (CUDA). The socket stays unreachable: the
/// name it binds is in the worker's folder or abstract, and accepting and connecting are denied.
pub const LOCAL_SOCKETS: &[c_long] = &[libc::SYS_bind, libc::SYS_listen];

/// Further calls of a worker that has opened a debug probe on TCP. It can open no other socket.
#[cfg(feature = "probe")]
pub const OPENED_SOCKETS: &[c_long] = &[libc::SYS_sendto, libc::SYS_recvfrom];

/// Names of calls that are denied, for reports.
pub const DENIED_NAMES: &[(c_long, &str)] = &[
    (libc::SYS_socket, "socket"),
    (libc::SYS_socketpair, "socketpair"),
    (libc::SYS_connect, "connect"),
    (libc::SYS_bind, "bind"),
    (libc::SYS_listen, "listen"),
    (libc::SYS_accept4, "accept4"),
    (libc::SYS_sendto, "sendto"),
    (libc::SYS_sendmsg, "sendmsg"),
    (libc::SYS_recvfrom, "recvfrom"),
    (libc::SYS_recvmsg, "recvmsg"),
    (libc::SYS_io_uring_setup, "io_uring_setup"),
    (libc::SYS_execve, "execve"),
    (libc::SYS_execveat, "execveat"),
    (libc::SYS_ptrace, "ptrace"),
    (libc::SYS_process_vm_readv, "process_vm_readv"),
    (libc::SYS_process_vm_writev, "process_vm_writev"),
    (libc::SYS_kill, "kill"),
    (libc::SYS_tkill, "tkill"),
    (libc::SYS_tgkill, "tgkill"),
    (libc::SYS_rt_sigqueueinfo, "rt_sigqueueinfo"),
    (libc::SYS_rt_tgsigqueueinfo, "rt_tgsigqueueinfo"),
    (libc::SYS_pidfd_open, "pidfd_open"),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal"),
    (libc::SYS_setsid, "setsid"),
    (libc::SYS_setpgid, "setpgid"),
    (libc::SYS_setpriority, "setpriority"),
    (libc::SYS_prlimit64, "prlimit64"),
    (libc::SYS_prctl, "prctl"),
    (libc::SYS_sched_setaffinity, "sched_setaffinity"),
    (libc::SYS_sched_setscheduler, "sched_setscheduler"),
    (libc::SYS_sched_setparam, "sched_setparam"),
    (libc::SYS_sched_setattr, "sched_setattr"),
    (libc::SYS_shmget, "shmget"),
    (libc::SYS_shmat, "shmat"),
    (libc::SYS_semget, "semget"),
    (libc::SYS_msgget, "msgget"),
    (libc::SYS_mount, "mount"),
    (libc::SYS_umount2, "umount2"),
    (libc::SYS_unshare, "unshare"),
    (libc::SYS_setns, "setns"),
    (libc::SYS_fchmod, "fchmod"),
    (libc::SYS_fchmodat, "fchmodat"),
    (libc::SYS_fchown, "fchown"),
    (libc::SYS_fchownat, "fchownat"),
    (libc::SYS_setxattr, "setxattr"),
    (libc::SYS_lsetxattr, "lsetxattr"),
    (libc::SYS_fsetxattr, "fsetxattr"),
    (libc::SYS_removexattr, "removexattr"),
    (libc::SYS_utimensat, "utimensat"),
    (libc::SYS_linkat, "linkat"),
    (libc::SYS_symlinkat, "symlinkat"),
    (libc::SYS_mknodat, "mknodat"),
    (libc::SYS_bpf, "bpf"),
    (libc::SYS_perf_event_open, "perf_event_open"),
    (libc::SYS_userfaultfd, "userfaultfd"),
    (libc::SYS_keyctl, "keyctl"),
    (libc::SYS_add_key, "add_key"),
    (libc::SYS_request_key, "request_key"),
    (libc::SYS_seccomp, "seccomp"),
];
