use std::os::unix::fs::PermissionsExt;

use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};

use super::*;

/// Runs `ask` in a confined child. Its answer is the exit status, so it is a small number.
fn in_confinement(folder: &Path, readable: &[PathBuf], ask: impl FnOnce(&Confinement) -> u8) -> u8 {
    in_reach(
        &Reach {
            folder,
            readable: readable.to_vec(),
            sockets: Sockets::None,
        },
        ask,
    )
}

fn in_reach(reach: &Reach<'_>, ask: impl FnOnce(&Confinement) -> u8) -> u8 {
    // SAFETY: the child has this thread only. Until `_exit` it takes no lock of the test
    // harness, and glibc makes allocation safe after a fork.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => match waitpid(child, None).unwrap() {
            WaitStatus::Exited(_, code) => u8::try_from(code).unwrap(),
            other => panic!("the confined child ended by {other:?}"),
        },
        ForkResult::Child => {
            let code = match set_no_new_privs(true) {
                Ok(()) => ask(&seal(reach)),
                Err(_) => u8::MAX,
            };
            // SAFETY: it ends this process and nothing else.
            unsafe { libc::_exit(i32::from(code)) }
        }
    }
}

/// Returns 1 if a call was denied, 0 if it succeeded, 2 if it failed for another reason.
fn denied<T>(outcome: Result<T, Errno>) -> u8 {
    match outcome {
        Ok(_) => 0,
        Err(Errno::EPERM | Errno::EACCES) => 1,
        Err(_) => 2,
    }
}

/// Returns the position of the first `false`, from 1; 0 if there is none.
fn first_false(all: &[bool]) -> u8 {
    let first = all.iter().position(|fine| !fine);
    first.map_or(0, |at| at as u8 + 1)
}

fn file_denied<T>(outcome: std::io::Result<T>) -> u8 {
    denied(outcome.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0))))
}

/// The answer if a layer that the kernel offers is not in effect.
const LAYER_MISSING: u8 = 200;

/// Expects `ask` to be denied in confinement.
fn check_denied(what: &str, ask: impl FnOnce() -> u8) {
    let folder = tempfile::tempdir().unwrap();
    let answer = in_confinement(folder.path(), &[], |confinement| {
        if confinement.missing.iter().any(|missing| missing.offered) {
            return LAYER_MISSING;
        }
        // If the kernel lacks a layer, nothing is claimed and nothing is tested.
        if confinement.missing.is_empty() {
            ask()
        } else {
            1
        }
    });
    assert_ne!(
        answer, LAYER_MISSING,
        "a layer that the kernel offers is not in effect"
    );
    assert_eq!(answer, 1, "{what}");
}

#[test]
fn a_library_that_needs_a_local_socket_may_listen_on_it_and_no_process_reaches_it() {
    let folder = tempfile::tempdir().unwrap();
    let reach = Reach {
        folder: folder.path(),
        readable: Vec::new(),
        sockets: Sockets::Local,
    };
    let answer = in_reach(&reach, |confinement| {
        if confinement.missing.iter().any(|missing| missing.offered) {
            return LAYER_MISSING;
        }
        if !confinement.missing.is_empty() {
            return 0;
        }
        let name = libc::sockaddr_un {
            sun_family: libc::AF_UNIX as libc::sa_family_t,
            sun_path: [0; 108],
        };
        let (at, size) = (std::ptr::from_ref(&name).cast(), 2);
        // SAFETY: numbers, and an address that is valid until each call returns: of the family
        // alone, so the kernel chooses a name.
        let (socket, steps) = unsafe {
            let socket = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
            let steps = [
                denied(Errno::result(libc::bind(socket, at, size))) == 0,
                denied(Errno::result(libc::listen(socket, 1))) == 0,
                denied(Errno::result(libc::connect(socket, at, size))) == 1,
                denied(Errno::result(libc::accept4(
                    socket,
                    std::ptr::null_mut(),
                    std::ptr::null_mut(),
                    libc::SOCK_NONBLOCK,
                ))) == 1,
                denied(Errno::result(libc::socket(
                    libc::AF_INET,
                    libc::SOCK_STREAM,
                    0,
                ))) == 1,
                denied(Errno::result(libc::socket(
                    libc::AF_NETLINK,
                    libc::SOCK_RAW,
                    0,
                ))) == 1,
            ];
            (socket, steps)
        };
        let all = [&[socket >= 0][..], &steps].concat();
        first_false(&all)
    });
    assert_eq!(answer, 0, "the first failed step, from 1");
}

#[test]
fn the_network_is_out_of_reach() {
    let socket = |family: i32| {
        move || {
            // SAFETY: it takes numbers only.
            denied(Errno::result(unsafe {
                libc::socket(family, libc::SOCK_STREAM, 0)
            }))
        }
    };
    check_denied("IPv4", socket(libc::AF_INET));
    check_denied("IPv6", socket(libc::AF_INET6));
    check_denied("local sockets", socket(libc::AF_UNIX));
    check_denied("netlink", socket(libc::AF_NETLINK));
    check_denied("io_uring", || {
        let mut nothing = [0u8; 120];
        // SAFETY: the structure of that size is valid when all zero.
        denied(Errno::result(unsafe {
            libc::syscall(libc::SYS_io_uring_setup, 1, nothing.as_mut_ptr())
        }))
    });
}

#[test]
fn other_processes_are_out_of_reach() {
    check_denied("another program", || {
        file_denied(std::process::Command::new("/bin/true").status())
    });
    check_denied("a process", || {
        // SAFETY: it is denied; otherwise the child would end like the test itself.
        denied(unsafe { fork() })
    });
    let parent = nix::unistd::getpid();
    check_denied("a signal", || denied(nix::sys::signal::kill(parent, None)));
    check_denied("a signal to a thread", || {
        let number = parent.as_raw();
        // SAFETY: it takes numbers only; signal 0 is not sent.
        denied(Errno::result(unsafe {
            libc::syscall(libc::SYS_tgkill, number, number, 0)
        }))
    });
    check_denied("a session of its own", || denied(nix::unistd::setsid()));
    check_denied("a group of its own", || {
        let own = nix::unistd::getpid();
        denied(nix::unistd::setpgid(own, own))
    });
    check_denied("outliving the agent", || {
        // SAFETY: it takes numbers only.
        denied(Errno::result(unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, 0)
        }))
    });
    check_denied("tracing", || {
        // SAFETY: it takes numbers only.
        denied(Errno::result(unsafe {
            libc::ptrace(libc::PTRACE_ATTACH, parent.as_raw(), 0, 0)
        }))
    });
    check_denied("the agent's environment, with its token", || {
        file_denied(std::fs::read(format!("/proc/{parent}/environ")))
    });
}

/// Calls that a list of denied ones once let through, as they change other processes or files.
#[test]
fn calls_that_no_model_needs_are_denied_and_named() {
    // `fchmodat2` and `setxattrat` have these numbers on all architectures.
    const FCHMODAT2: libc::c_long = 452;
    const SETXATTRAT: libc::c_long = 463;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own");
    std::fs::write(&file, "x").unwrap();
    let path = std::ffi::CString::new(file.as_os_str().as_encoded_bytes()).unwrap();
    let here = libc::AT_FDCWD as usize;
    let path = path.as_ptr() as usize;
    let parent = nix::unistd::getpid().as_raw() as usize;
    let check = |name: &str, number: libc::c_long, args: [usize; 6]| {
        check_denied(name, || {
            let [a, b, c, d, e, f] = args;
            // SAFETY: the arguments are numbers, null, and a path that outlives the call; none of
            // the calls writes to memory.
            let outcome = unsafe { libc::syscall(number, a, b, c, d, e, f) };
            let named = super::super::syscalls::denied();
            match &named[..] {
                [known] if known == name || *known == format!("number {number}") => {
                    denied(Errno::result(outcome))
                }
                _ => 3,
            }
        });
    };
    check("fchmodat2", FCHMODAT2, [here, path, 0o777, 0, 0, 0]);
    check("setxattrat", SETXATTRAT, [here, path, 0, 0, 0, 0]);
    check(
        "removexattr",
        libc::SYS_removexattr,
        [path, path, 0, 0, 0, 0],
    );
    check("utimensat", libc::SYS_utimensat, [here, path, 0, 0, 0, 0]);
    check("prlimit64", libc::SYS_prlimit64, [parent, 7, 0, 0, 0, 0]);
    check(
        "setpriority",
        libc::SYS_setpriority,
        [0, parent, 19, 0, 0, 0],
    );
    check(
        "sched_setaffinity",
        libc::SYS_sched_setaffinity,
        [parent, 0, 0, 0, 0, 0],
    );
    check(
        "rt_sigqueueinfo",
        libc::SYS_rt_sigqueueinfo,
        [parent, 0, 0, 0, 0, 0],
    );
    check("shmget", libc::SYS_shmget, [0, 4096, 0o600, 0, 0, 0]);
    check("sendto", libc::SYS_sendto, [0, 0, 0, 0, 0, 0]);
    check("pidfd_open", libc::SYS_pidfd_open, [parent, 0, 0, 0, 0, 0]);
}

#[test]
fn files_of_others_are_out_of_reach() {
    let other = tempfile::tempdir().unwrap();
    let secret = other.path().join("secret");
    std::fs::write(&secret, "x").unwrap();
    check_denied("reading a file", || file_denied(std::fs::read(&secret)));
    check_denied("listing a folder", || {
        file_denied(std::fs::read_dir(other.path()))
    });
    check_denied("reading the users' names", || {
        file_denied(std::fs::read("/etc/passwd"))
    });
    check_denied("writing to them", || {
        file_denied(std::fs::OpenOptions::new().append(true).open("/etc/passwd"))
    });
    check_denied("making a file", || {
        file_denied(std::fs::write(other.path().join("new"), "x"))
    });
    check_denied("removing a file", || {
        file_denied(std::fs::remove_file(&secret))
    });
    check_denied("another's rights", || {
        file_denied(std::fs::set_permissions(
            &secret,
            std::fs::Permissions::from_mode(0o777),
        ))
    });
    assert!(secret.exists());
}

#[test]
fn resources_of_a_model_remain_accessible() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let model = other.path().join("model.onnx");
    std::fs::write(&model, "bytes").unwrap();
    let answer = in_confinement(folder.path(), std::slice::from_ref(&model), |_| {
        let own = folder.path().join("profile.json");
        let all = [
            std::fs::read(&model).is_ok(),
            std::fs::write(&own, "x").is_ok() && std::fs::read(&own).is_ok(),
            std::fs::remove_file(&own).is_ok(),
            std::fs::read("/proc/self/status").is_ok() && std::fs::read_dir("/sys").is_ok(),
            std::fs::write("/dev/null", "x").is_ok(),
            std::thread::spawn(|| 7)
                .join()
                .is_ok_and(|seven| seven == 7),
            std::fs::read_dir("/usr/lib").is_ok(),
        ];
        first_false(&all)
    });
    assert_eq!(answer, 0, "the first failed step, from 1");
}

#[test]
fn a_confined_process_can_abort() {
    let folder = tempfile::tempdir().unwrap();
    let reach = Reach {
        folder: folder.path(),
        readable: Vec::new(),
        sockets: Sockets::None,
    };
    // SAFETY: as in `in_confinement`.
    match unsafe { fork() }.unwrap() {
        ForkResult::Parent { child } => {
            let end = waitpid(child, None).unwrap();
            assert!(
                matches!(end, WaitStatus::Signaled(_, Signal::SIGABRT, _)),
                "{end:?}"
            );
        }
        ForkResult::Child => {
            seal(&reach);
            std::process::abort()
        }
    }
}

#[test]
fn a_limit_is_lowered_and_never_raised() {
    let folder = tempfile::tempdir().unwrap();
    let answer = in_confinement(folder.path(), &[], |_| {
        let most = || getrlimit(Resource::Nofile).maximum;
        let steps = [
            lower(Resource::Nofile, 100).is_ok() && most() == Some(100),
            lower(Resource::Nofile, 200).is_ok() && most() == Some(100),
        ];
        u8::from(steps != [true, true])
    });
    assert_eq!(answer, 0);
}

#[test]
fn a_running_thread_is_the_reason_for_missing_layers() {
    let folder = tempfile::tempdir().unwrap();
    let answer = in_reach(
        &Reach {
            folder: folder.path(),
            readable: Vec::new(),
            sockets: Sockets::None,
        },
        |_| {
            std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_secs(60)));
            let again = seal(&Reach {
                folder: folder.path(),
                readable: Vec::new(),
                sockets: Sockets::None,
            });
            let named = again
                .missing
                .iter()
                .filter(|missing| missing.offered && missing.reason.contains("already (1)"));
            u8::from(named.count() == 2)
        },
    );
    assert_eq!(answer, 1, "capabilities and files");
}
