//! The lifetimes of hosts, agents and workers.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use latency::{AgentDevice, LatencyError, LatencySource, Local, Patience};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{
    Convolution, agent, device, endless, impatient, job, local, quick, request, worker_of,
};
use crate::wire::Bare;

/// Polls until there is a value; a minute is more than any condition here takes.
fn eventually<T>(what: &str, mut poll: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = poll() {
            return value;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Whether a process runs; a zombie does not.
fn is_running(pid: impl std::fmt::Display) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

fn wait_until_gone(pid: impl std::fmt::Display + Copy) {
    eventually("the process is gone", || (!is_running(pid)).then_some(()));
}

/// Sends a signal to the agent while its worker measures. Expects the host to start another
/// agent and the measurement to succeed.
fn check_replacement(patience: Patience, signal: Signal) {
    let mut device = AgentDevice::start(local(), "local", patience).unwrap();
    let first = device.agent_pid().unwrap();
    let sampling = latency::Sampling {
        min_rounds: 200,
        max_duration_ns: 10_000_000_000,
        ..quick()
    };
    let killing = std::thread::spawn(move || {
        let worker = eventually("a worker measures", || worker_of(first));
        kill(Pid::from_raw(first as i32), signal).unwrap();
        worker
    });
    let all = device
        .measure(&request(Convolution::default().model("m"), sampling))
        .unwrap();
    let worker = killing.join().unwrap();
    assert!(all[0].is_valid());
    assert_ne!(device.agent_pid(), Some(first), "it is another agent");
    wait_until_gone(first);
    wait_until_gone(worker);
}

#[test]
fn an_agent_killed_in_a_measurement_is_replaced_and_its_worker_ends_with_it() {
    check_replacement(
        Patience {
            restarts: 3,
            ..impatient()
        },
        Signal::SIGKILL,
    );
}

#[test]
fn an_agent_that_hangs_in_a_measurement_is_replaced() {
    let patience = Patience {
        restarts: 3,
        silence_ns: 5_000_000_000,
        ..impatient()
    };
    check_replacement(patience, Signal::SIGSTOP);
}

#[test]
fn an_agent_that_cannot_be_kept_alive_is_given_up_with_a_count() {
    let mut device = device();
    kill(
        Pid::from_raw(device.agent_pid().unwrap() as i32),
        Signal::SIGKILL,
    )
    .unwrap();
    let outcome = device.measure(&request(Convolution::default().model("m"), quick()));
    assert!(
        matches!(outcome, Err(LatencyError::AgentLost { times: 1, .. })),
        "{outcome:?}"
    );
    // The next request starts another agent.
    assert!(
        device
            .measure(&request(Convolution::default().model("m"), quick()))
            .is_ok()
    );
}

/// The command of an agent whose user has this home folder.
fn at_home(home: &Path) -> Command {
    let mut command = Command::new(agent());
    command.env("HOME", home).env_remove("XDG_CACHE_HOME");
    command
}

#[test]
fn the_agent_ends_with_its_host_and_leaves_no_files() {
    let home = tempfile::tempdir().unwrap();
    let bare = Bare::start_by(at_home(home.path()), &[]);
    let place = home.path().join(".cache/graphprune-agent");
    let mode = std::fs::metadata(&place).unwrap().mode();
    assert_eq!(mode & 0o777, 0o700, "only the user may enter it");
    let count = || std::fs::read_dir(&place).unwrap().count();
    assert_eq!(count(), 1);
    let model = Convolution::default().model("m");
    let mut client = bare.client();
    client.upload(&model).unwrap();
    let silence = Duration::from_secs(60);
    let all = client.measure(&job(&model, quick()), silence, &mut |_| {});
    assert!(all.unwrap()[0].is_valid());
    drop(client);
    drop(bare);
    assert_eq!(count(), 0);
    // Its workers left no files elsewhere in the home folder either.
    let left = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.collect::<Vec<_>>()
    };
    assert_eq!(left(home.path()), [".cache"]);
    assert_eq!(left(&home.path().join(".cache")), ["graphprune-agent"]);
}

#[test]
fn a_folder_among_the_temporary_files_that_another_user_made_is_refused() {
    let shared = tempfile::tempdir().unwrap();
    let victim = tempfile::tempdir().unwrap();
    let number = rustix::process::geteuid().as_raw();
    let place = shared.path().join(format!("graphprune-agent-of-{number}"));
    std::os::unix::fs::symlink(victim.path(), &place).unwrap();
    // Without a home folder the agent cannot use its user's caches.
    let mut command = Command::new(agent());
    command
        .args(["serve", "--port", "0"])
        .env("TMPDIR", shared.path())
        .env("GRAPHPRUNE_AGENT_TOKEN", "x".repeat(64))
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME");
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && stderr.contains("not this user's own"),
        "{stderr}"
    );
    assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 0);
}

#[test]
fn a_measurement_ends_with_its_client() {
    let mut device = device();
    let agent = device.agent_pid().unwrap();
    let model = Convolution::default().model("m");
    let client = device.client().unwrap();
    client.upload(&model).unwrap();
    let job = job(&model, endless());
    // The client gives up before the first event.
    let outcome = client.measure(&job, Duration::from_nanos(1), &mut |_| {});
    assert!(outcome.is_err_and(|error| error.is_agent_lost()));
    // The agent's only turn is free again, so another measurement succeeds.
    let all = device.measure(&request(model, quick())).unwrap();
    assert!(all[0].is_valid());
    assert_eq!(device.agent_pid(), Some(agent));
}

#[test]
fn a_missing_program_or_library_is_named() {
    let nowhere = Path::new("/nonexistent/thing").to_owned();
    let start = |agent: Local| match AgentDevice::start(agent.clone(), "local", impatient()) {
        Ok(_) => panic!("it started: {agent:?}"),
        Err(error) => error,
    };
    let check = |agent: Local, needles: &[&str]| {
        let error = start(agent).to_string();
        for needle in needles {
            assert!(error.contains(needle), "{needle}: {error}");
        }
    };
    let error = start(Local {
        agent: Some(nowhere.clone()),
        ..local()
    });
    assert!(
        matches!(&error, LatencyError::AgentNotFound { looked } if *looked == [nowhere.clone()])
    );
    let with_library = |library| Local {
        runtime_library: Some(library),
        ..local()
    };
    let needles = ["/nonexistent/thing", "ORT_DYLIB_PATH"];
    check(with_library(nowhere), &needles);
    check(with_library(agent()), &["graphprune-agent", "ONNX Runtime"]);
    let silent = Local {
        agent: Some("/bin/true".into()),
        ..local()
    };
    check(silent, &["/bin/true"]);
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
fn an_agent_started_through_a_loader_starts_its_workers_through_it() {
    let program = agent();
    // As on a phone: all paths are relative, and the kernel's executable is the loader.
    let mut command = Command::new("/lib64/ld-linux-x86-64.so.2");
    command
        .args([
            "--argv0",
            "agent",
            "--library-path",
            ".",
            "./graphprune-agent",
        ])
        .current_dir(program.parent().unwrap());
    let bare = Bare::start_by(command, &[]);
    let exe = std::fs::read_link(format!("/proc/{}/exe", bare.child.id())).unwrap();
    assert_ne!(exe, program.canonicalize().unwrap());
    let model = Convolution::default().model("m");
    let mut client = bare.client();
    client.upload(&model).unwrap();
    let silence = Duration::from_secs(60);
    let all = client.measure(&job(&model, quick()), silence, &mut |_| {});
    assert!(all.unwrap()[0].is_valid());
}
