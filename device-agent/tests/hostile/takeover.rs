//! Compromised workers: the library itself attacks, with all the rights of a worker.

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

/// A library that behaves like the real one until its mode is set.
struct Library {
    folder: TempDir,
    /// A folder that workers may not read, unlike the library's.
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

    /// Sets what the library does from now on.
    fn set_mode(&self, mode: &str) {
        std::fs::write(self.mode(), mode).unwrap();
    }

    /// Makes it behave like the real one again.
    fn reset(&self) {
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
fn a_worker_that_never_reads_its_job_is_killed_when_its_time_is_up() {
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
    // A process stopped before it ran the worker's program ends only when it continues. Most
    // often it is gone.
    let _ = kill(worker, Signal::SIGCONT);
}

/// Returns the failure of a measurement with a library in this mode. Expects the agent to be well
/// afterwards.
fn failure(mode: &str, time_ns: u64) -> agent_protocol::Failure {
    let library = Library::new();
    let served = library.served();
    let mut client = served.client();
    client.upload(&Convolution::default().model("m")).unwrap();
    library.set_mode(mode);
    let begun = Instant::now();
    let outcome = client.measure(&limited(time_ns), SILENCE, &mut |_| {});
    let took = begun.elapsed();
    let most = Duration::from_nanos(time_ns) + Duration::from_secs(15);
    assert!(took < most, "{mode}: {took:?}");
    let Err(LatencyError::Failed(failure)) = outcome else {
        panic!("{mode}: {outcome:?}");
    };
    assert_eq!(worker_of(served.pid()), None, "{mode}");
    library.reset();
    served.is_well();
    failure
}

#[test]
fn a_library_that_starts_threads_as_it_is_loaded_leaves_every_layer_in_effect() {
    let library = Library::new();
    library.set_mode("thread");
    let served = library.served();
    let mut client = served.client();
    let info = client.device().clone();
    assert!(info.unconfined.iter().all(|missing| !missing.offered));
    let model = Convolution::default().model("m");
    client.upload(&model).unwrap();
    let all = client.measure(&job(&model, quick()), SILENCE, &mut |_| {});
    assert_eq!(all.unwrap()[0].runtime.confinement, info.confinement);
}

#[test]
fn a_compromised_worker_reads_no_file_of_others() {
    let failure = failure("spy", 20_000_000_000);
    assert_eq!(failure.kind, FailureKind::Crashed);
    let denied = failure.detail.matches("ermission denied").count();
    assert!(
        denied == 3 && !failure.detail.contains("was read"),
        "{failure}"
    );
}

#[test]
fn a_silent_worker_that_leaves_its_group_is_killed_when_its_time_is_up() {
    let failure = failure("mute", 3_000_000_000);
    assert_eq!(failure.kind, FailureKind::TimedOut, "{failure}");
}

#[test]
fn endless_output_of_a_worker_takes_no_memory() {
    let failure = failure("loud", 60_000_000_000);
    assert_eq!(failure.kind, FailureKind::Crashed);
    assert!(failure.detail.contains("xxx") && failure.detail.len() < 4096);
}

#[test]
fn an_event_longer_than_its_pass_needs_is_refused_before_it_is_read() {
    let failure = failure("frame", 20_000_000_000);
    assert_eq!(failure.kind, FailureKind::Internal);
    assert!(
        failure.detail.contains("longer than the limit"),
        "{failure}"
    );
}

#[test]
fn a_worker_that_resists_ends_with_a_killed_agent() {
    let library = Library::new();
    let mut served = library.served();
    let mut client = served.client();
    client.upload(&Convolution::default().model("m")).unwrap();
    library.set_mode("stay");
    let agent = served.pid();
    let measuring = std::thread::spawn(move || {
        // The agent is killed during it.
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
