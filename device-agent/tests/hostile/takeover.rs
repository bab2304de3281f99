//! Workers that were taken over: the library itself turns on the agent, with all that a worker may do.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use agent_protocol::{FailureKind, Limits, MeasureJob, RunJob, RuntimeOptions};
use latency::LatencyError;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::fixture::{Convolution, job, quick, runtime_library, worker_of};
use crate::served::{SILENCE, Served, eventually};

/// A library that does as the real one does until it is told something else.
struct Library {
    folder: TempDir,
    /// Beside the library everything may be read; here nothing.
    elsewhere: TempDir,
}

impl Library {
    fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
            elsewhere: tempfile::tempdir().unwrap(),
        };
        let secret = this.elsewhere.path().join("secret");
        std::fs::write(&secret, "x").unwrap();
        let text = |name: &str, path: &Path| format!("-D{name}=\"{}\"", path.display());
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-pthread", "-o"])
            .arg(this.path())
            .arg(text("REAL", &runtime_library()))
            .arg(text("MODE", &this.mode()))
            .arg(text("SECRET", &secret))
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/hostile/takeover.c"
            ))
            .arg("-ldl")
            .status();
        assert!(status.unwrap().success(), "the C compiler that links Rust");
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("libonnxruntime.so")
    }

    fn mode(&self) -> PathBuf {
        self.folder.path().join("mode")
    }

    /// An agent with this library.
    fn served(&self) -> Served {
        let path = self.path();
        Served::start(&["--runtime", path.to_str().unwrap()])
    }

    /// What the library does from now on.
    fn becomes(&self, mode: &str) {
        std::fs::write(self.mode(), mode).unwrap();
    }

    /// It does as the real one again.
    fn is_cured(&self) {
        std::fs::remove_file(self.mode()).unwrap();
    }
}

fn limited(time_ns: u64) -> MeasureJob {
    let model = Convolution::default().model("m");
    MeasureJob {
        limits: Limits {
            time_ns,
            ..Limits::default()
        },
        ..job(&model, quick())
    }
}

#[test]
fn a_worker_that_never_reads_its_job_is_ended_when_its_time_is_up() {
    let served = Served::start(&[]);
    let model = Convolution::default().model("m");
    let mut client = served.client();
    client.upload(&model).unwrap();
    let agent = served.pid();
    let stopping = std::thread::spawn(move || {
        // Without a pause in between: a worker that has read its job is soon gone.
        let until = Instant::now() + SILENCE;
        let worker = loop {
            match worker_of(agent) {
                Some(worker) => break worker,
                None => assert!(Instant::now() < until, "no worker starts"),
            }
        };
        kill(Pid::from_raw(worker), Signal::SIGSTOP).unwrap();
        (Pid::from_raw(worker), Instant::now())
    });
    let images = 20_000;
    let outcome = client.run(RunJob {
        model: limited(1).models.remove(0),
        input: vec![0.5; images * 3 * 16 * 16],
        shape: vec![images as u64, 3, 16, 16],
        limits: limited(3_000_000_000).limits,
        runtime: RuntimeOptions::default(),
    });
    let ended = Instant::now();
    let (worker, stopped) = stopping.join().unwrap();
    assert!(ended - stopped < Duration::from_secs(18));
    assert!(
        matches!(&outcome, Err(LatencyError::Failed(failure)) if failure.kind == FailureKind::TimedOut),
        "{outcome:?}"
    );
    let all = client.measure(&limited(60_000_000_000), SILENCE, &mut |_| {});
    assert!(all.unwrap()[0].is_valid(), "the device's turn is free");
    // Stopped before it ran the worker's program, it could not be ended, and is when it goes on. Most often it is gone.
    let _ = kill(worker, Signal::SIGCONT);
}

/// Why a measurement with a library in this mode fails, after which the agent is as well as before.
fn failure(mode: &str, time_ns: u64) -> agent_protocol::Failure {
    let library = Library::new();
    let served = library.served();
    let mut client = served.client();
    client.upload(&Convolution::default().model("m")).unwrap();
    library.becomes(mode);
    let begun = Instant::now();
    let outcome = client.measure(&limited(time_ns), SILENCE, &mut |_| {});
    let took = begun.elapsed();
    let most = Duration::from_nanos(time_ns) + Duration::from_secs(15);
    assert!(took < most, "{mode}: {took:?}");
    let Err(LatencyError::Failed(failure)) = outcome else {
        panic!("{mode}: {outcome:?}");
    };
    assert_eq!(worker_of(served.pid()), None, "{mode}");
    library.is_cured();
    served.is_well();
    failure
}

#[test]
fn a_library_that_starts_threads_as_it_is_loaded_leaves_every_layer_in_effect() {
    let library = Library::new();
    library.becomes("thread");
    let served = library.served();
    let mut client = served.client();
    let told = client.device().clone();
    assert!(told.unconfined.iter().all(|missing| !missing.offered));
    let model = Convolution::default().model("m");
    client.upload(&model).unwrap();
    let all = client.measure(&job(&model, quick()), SILENCE, &mut |_| {});
    assert_eq!(all.unwrap()[0].runtime.confinement, told.confinement);
}

#[test]
fn a_worker_that_was_taken_over_reads_nothing_of_others() {
    let failure = failure("spy", 20_000_000_000);
    assert_eq!(failure.kind, FailureKind::Crashed);
    let seen = failure.detail.matches("ermission denied").count();
    assert!(
        seen == 3 && !failure.detail.contains("was read"),
        "{failure}"
    );
}

#[test]
fn a_worker_that_falls_silent_and_leaves_its_group_is_ended_when_its_time_is_up() {
    let failure = failure("mute", 3_000_000_000);
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure}");
}

#[test]
fn what_a_worker_says_without_end_takes_no_memory() {
    let failure = failure("loud", 60_000_000_000);
    assert_eq!(failure.kind, FailureKind::Crashed);
    assert!(failure.detail.contains("xxx") && failure.detail.len() < 4096);
}

#[test]
fn an_event_longer_than_it_has_reason_to_be_is_refused_before_it_is_read() {
    let failure = failure("frame", 20_000_000_000);
    assert_eq!(failure.kind, FailureKind::Internal);
    assert!(
        failure.detail.contains("longer than the limit"),
        "{failure}"
    );
}

#[test]
fn a_worker_that_would_stay_dies_with_an_agent_that_is_killed() {
    let library = Library::new();
    let mut served = library.served();
    let mut client = served.client();
    client.upload(&Convolution::default().model("m")).unwrap();
    library.becomes("stay");
    let agent = served.pid();
    let measuring = std::thread::spawn(move || {
        // The agent dies under it.
        let _ = client.measure(&limited(60_000_000_000), SILENCE, &mut |_| {});
    });
    let worker = eventually("a worker waits", || {
        let worker = worker_of(agent)?;
        let maps = std::fs::read_to_string(format!("/proc/{worker}/maps")).ok()?;
        let state = std::fs::read_to_string(format!("/proc/{worker}/wchan"));
        let waits = state.map_or(true, |state| state.contains("pause"));
        (maps.contains("libonnxruntime") && waits).then_some(worker)
    });
    served.kill();
    measuring.join().unwrap();
    eventually("the worker is gone", || {
        let status = std::fs::read_to_string(format!("/proc/{worker}/status"));
        status
            .map_or(true, |status| status.contains("State:\tZ"))
            .then_some(())
    });
}
