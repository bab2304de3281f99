//! The confinement of a worker at work, as the kernel reports it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use latency::{LatencyError, LatencySource, Stage};

use crate::fixture::{Convolution, agent, device, endless, job, quick, request, worker_of};
use crate::wire::Bare;

/// Returns every layer, and whether the kernel of this machine offers it.
fn layers() -> [(&'static str, bool); 5] {
    const VERSION: u32 = 1;
    // SAFETY: with these arguments the call returns a number and reads no memory.
    let landlock = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0_usize,
            VERSION,
        )
    };
    // SAFETY: it takes numbers only.
    let seccomp = unsafe { libc::prctl(libc::PR_GET_SECCOMP) };
    [
        ("no-new-privileges", true),
        ("limits", true),
        ("no-capabilities", true),
        ("files (landlock)", landlock > 0),
        ("system calls (seccomp)", seccomp >= 0),
    ]
}

#[test]
fn every_layer_that_the_kernel_offers_is_in_effect_and_the_others_have_reasons() {
    let mut device = device();
    let info = device.describe();
    let offered = layers().into_iter().filter(|(_, offered)| *offered);
    let offered: Vec<&str> = offered.map(|(layer, _)| layer).collect();
    assert_eq!(info.confinement, offered, "missing: {:?}", info.unconfined);
    let missing: Vec<(&str, bool)> = info
        .unconfined
        .iter()
        .map(|missing| (missing.layer.as_str(), missing.offered))
        .collect();
    let lacking = layers().into_iter().filter(|(_, offered)| !offered);
    assert_eq!(missing, lacking.collect::<Vec<_>>());
    assert!(
        info.unconfined
            .iter()
            .all(|missing| !missing.reason.is_empty())
    );
    let all = device
        .measure(&request(Convolution::default().model("m"), quick()))
        .unwrap();
    assert_eq!(all[0].runtime.confinement, info.confinement);
}

#[test]
fn a_worker_at_work_is_confined_and_has_no_token() {
    let mut command = Command::new(agent());
    command.env("GRAPHPRUNE_AGENT_TOKEN", "not this one, but one like it");
    let bare = Bare::start_by(command, &[]);
    let (model, mut client) = (Convolution::default().model("m"), bare.client());
    client.upload(&model).unwrap();
    let job = agent_protocol::MeasureJob {
        sampling: latency::Sampling {
            max_duration_ns: 1_000_000_000,
            ..endless()
        },
        ..job(&model, quick())
    };
    let mut observed = None;
    let silence = Duration::from_secs(60);
    client
        .measure(&job, silence, &mut |step| {
            if let (Stage::Sampling, Some(worker)) = (step.stage, worker_of(bare.child.id())) {
                let read = |file: &str| std::fs::read_to_string(format!("/proc/{worker}/{file}"));
                if let (Ok(status), Ok(environment)) = (read("status"), read("environ")) {
                    observed = Some((status, environment, read("oom_score_adj")));
                }
            }
        })
        .unwrap();
    let (status, environment, oom) = observed.expect("a worker samples");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim).unwrap_or_default().to_owned()
    };
    assert!(!environment.contains("GRAPHPRUNE_AGENT_TOKEN"));
    let variable = |name: &str| {
        let mut words = environment.split('\0');
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('='))
    };
    assert_eq!(variable("ORT_DISABLE_TELEMETRY"), Some("1"));
    for place in ["HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME"] {
        let folder = variable(place).unwrap_or_default();
        assert!(folder.ends_with("/work"), "{place}: {folder}");
    }
    assert_eq!(field("NoNewPrivs:"), "1");
    let seccomp = layers().contains(&("system calls (seccomp)", true));
    assert_eq!(field("Seccomp:"), if seccomp { "2" } else { "0" });
    // At most CAP_DAC_READ_SEARCH, bit 2.
    let left = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    assert_eq!(left & !4, 0);
    assert_eq!(field("Threads:"), "1", "the library starts none");
    if let Ok(oom) = oom {
        assert_eq!(oom.trim(), "800");
    }
}

/// Builds a library that starts a thread when a program loads it, before a worker confines
/// itself.
fn threading_library(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("thread.c"), folder.join("thread.so"));
    let code = "#include <pthread.h>\n#include <unistd.h>\n\
        static void *idle(void *nothing) { for (;;) pause(); return nothing; }\n\
        __attribute__((constructor)) static void begin(void) {\n\
            pthread_t thread;\n    pthread_create(&thread, NULL, idle, NULL);\n}\n";
    std::fs::write(&source, code).unwrap();
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-pthread", "-o"])
        .arg(&library)
        .arg(&source)
        .status();
    assert!(status.unwrap().success(), "the C compiler that links Rust");
    library
}

#[test]
fn a_worker_that_cannot_be_confined_runs_no_model_unless_that_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let library = threading_library(folder.path());
    let measure = |arguments: &[&str]| {
        let mut command = Command::new(agent());
        command.env("LD_PRELOAD", &library);
        let bare = Bare::start_by(command, arguments);
        let (model, mut client) = (Convolution::default().model("m"), bare.client());
        let unconfined = client.device().unconfined.clone();
        let missing = |layer: &str| {
            let mut all = unconfined.iter();
            all.any(|missing| missing.offered && missing.layer == layer)
        };
        assert!(missing("no-capabilities"), "{unconfined:?}");
        client.upload(&model).unwrap();
        client.measure(&job(&model, quick()), Duration::from_secs(60), &mut |_| {})
    };
    match measure(&[]) {
        Err(LatencyError::Failed(failure)) => {
            for needle in ["no-capabilities", "already (1)", "--allow-unconfined"] {
                assert!(failure.detail.contains(needle), "{failure}");
            }
        }
        other => panic!("{other:?}"),
    }
    let all = measure(&["--allow-unconfined"]).unwrap();
    assert!(all[0].is_valid());
    let notes = all[0].notes.join("; ");
    assert!(notes.contains("ran without no-capabilities"), "{notes}");
}
