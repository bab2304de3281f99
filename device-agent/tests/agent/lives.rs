//! Who outlives whom.

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

/// Waits until something is so; a minute is more than any of it takes.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::yield_now();
    }
}

/// Whether a process runs: a zombie does not.
fn runs(pid: impl std::fmt::Display) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z'))
    })
}

fn gone(pid: impl std::fmt::Display + Copy) {
    eventually("the process is gone", || (!runs(pid)).then_some(()));
}

/// Does `harm` to the agent while its worker measures. The host starts another and the measurement comes to its end.
fn the_search_goes_on(patience: Patience, harm: Signal) {
    let mut device = AgentDevice::start(local(), "local", patience).unwrap();
    let first = device.agent_pid().unwrap();
    let sampling = latency::Sampling {
        min_rounds: 200,
        max_duration_ns: 10_000_000_000,
        ..quick()
    };
    let victim = std::thread::spawn(move || {
        let worker = eventually("a worker measures", || worker_of(first));
        kill(Pid::from_raw(first as i32), harm).unwrap();
        worker
    });
    let all = device
        .measure(&request(Convolution::default().model("m"), sampling))
        .unwrap();
    let worker = victim.join().unwrap();
    assert!(all[0].is_valid());
    assert_ne!(device.agent_pid(), Some(first), "it is another agent");
    gone(first);
    gone(worker);
}

#[test]
fn an_agent_killed_in_the_middle_is_replaced_and_takes_its_worker_along() {
    the_search_goes_on(
        Patience {
            restarts: 3,
            ..impatient()
        },
        Signal::SIGKILL,
    );
}

#[test]
fn an_agent_that_hangs_in_the_middle_is_replaced() {
    let patience = Patience {
        restarts: 3,
        silence_ns: 5_000_000_000,
        ..impatient()
    };
    the_search_goes_on(patience, Signal::SIGSTOP);
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
    // Asked again, it starts anew.
    assert!(
        device
            .measure(&request(Convolution::default().model("m"), quick()))
            .is_ok()
    );
}

/// An agent whose user has this home folder.
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
    assert_eq!(mode & 0o777, 0o700, "its place is its user's own");
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
    // Nor have its workers left any elsewhere in the home folder.
    let left = |folder: &Path| {
        let entries = std::fs::read_dir(folder).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names.collect::<Vec<_>>()
    };
    assert_eq!(left(home.path()), [".cache"]);
    assert_eq!(left(&home.path().join(".cache")), ["graphprune-agent"]);
}

#[test]
fn a_place_among_the_temporary_files_that_another_made_is_refused() {
    let shared = tempfile::tempdir().unwrap();
    let victim = tempfile::tempdir().unwrap();
    let number = rustix::process::geteuid().as_raw();
    let place = shared.path().join(format!("graphprune-agent-of-{number}"));
    std::os::unix::fs::symlink(victim.path(), &place).unwrap();
    // Without a home folder there is none among its user's caches.
    let mut command = Command::new(agent());
    command
        .args(["serve", "--port", "0"])
        .env("TMPDIR", shared.path())
        .env("GRAPHPRUNE_AGENT_TOKEN", "x".repeat(64))
        .env_remove("HOME")
        .env_remove("XDG_CACHE_HOME");
    let output = command.output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        !output.status.success() && words.contains("not this user's own"),
        "{words}"
    );
    assert_eq!(std::fs::read_dir(victim.path()).unwrap().count(), 0);
}

#[test]
fn a_measurement_nobody_waits_for_is_ended() {
    let mut device = device();
    let agent = device.agent_pid().unwrap();
    let model = Convolution::default().model("m");
    let client = device.client().unwrap();
    client.upload(&model).unwrap();
    let job = job(&model, endless());
    // Not even the first sign of life is waited for.
    let outcome = client.measure(&job, Duration::from_nanos(1), &mut |_| {});
    assert!(outcome.is_err_and(|error| error.is_agent_lost()));
    // The agent's one turn is free again, so another measurement comes through.
    let all = device.measure(&request(model, quick())).unwrap();
    assert!(all[0].is_valid());
    assert_eq!(device.agent_pid(), Some(agent));
}

#[test]
fn what_is_needed_to_start_is_named_when_it_is_missing() {
    let nowhere = Path::new("/nonexistent/thing").to_owned();
    let start = |agent: Local| match AgentDevice::start(agent.clone(), "local", impatient()) {
        Ok(_) => panic!("it started: {agent:?}"),
        Err(error) => error,
    };
    let error = start(Local {
        agent: Some(nowhere.clone()),
        ..local()
    });
    assert!(
        matches!(&error, LatencyError::AgentNotFound { looked } if *looked == [nowhere.clone()])
    );
    let error = start(Local {
        runtime_library: Some(nowhere),
        ..local()
    })
    .to_string();
    assert!(
        error.contains("/nonexistent/thing") && error.contains("ORT_DYLIB_PATH"),
        "{error}"
    );
    let error = start(Local {
        runtime_library: Some(agent()),
        ..local()
    })
    .to_string();
    assert!(
        error.contains("graphprune-agent") && error.contains("ONNX Runtime"),
        "{error}"
    );
    let error = start(Local {
        agent: Some("/bin/true".into()),
        ..local()
    })
    .to_string();
    assert!(error.contains("/bin/true"), "{error}");
}

#[test]
#[cfg(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64"))]
fn an_agent_started_through_a_loader_starts_its_workers_so_too() {
    let program = agent();
    // As on a phone: everything by relative paths, and the loader is what the kernel knows of.
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
