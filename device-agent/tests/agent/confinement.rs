//! What a worker at work may not do, as the kernel tells of it.

use std::process::Command;
use std::time::Duration;

use latency::{LatencySource, Stage};

use crate::fixture::{Convolution, agent, device, endless, job, quick, request, worker_of};
use crate::wire::Bare;

/// Every layer, and whether the kernel of this machine offers it; asked of the kernel itself.
fn layers() -> [(&'static str, bool); 5] {
    const VERSION: u32 = 1;
    // SAFETY: with these arguments the call tells a number and reads no memory.
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
        ("no-network (seccomp)", seccomp >= 0),
    ]
}

#[test]
fn every_layer_that_the_kernel_offers_is_in_effect_and_the_others_are_told_with_their_reasons() {
    let mut device = device();
    let told = device.describe();
    let offered = layers().into_iter().filter(|(_, offered)| *offered);
    let offered: Vec<&str> = offered.map(|(layer, _)| layer).collect();
    assert_eq!(told.confinement, offered, "missing: {:?}", told.unconfined);
    let missing: Vec<(&str, bool)> = told
        .unconfined
        .iter()
        .map(|missing| (missing.layer.as_str(), missing.offered))
        .collect();
    let lacking = layers().into_iter().filter(|(_, offered)| !offered);
    assert_eq!(missing, lacking.collect::<Vec<_>>());
    assert!(
        told.unconfined
            .iter()
            .all(|missing| !missing.reason.is_empty())
    );
    let all = device
        .measure(&request(Convolution::default().model("m"), quick()))
        .unwrap();
    assert_eq!(all[0].runtime.confinement, told.confinement);
}

#[test]
fn a_worker_at_work_is_confined_and_does_not_know_the_token() {
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
    let mut seen = None;
    let silence = Duration::from_secs(60);
    client
        .measure(&job, silence, &mut |step| {
            if let (Stage::Sampling, Some(worker)) = (step.stage, worker_of(bare.child.id())) {
                let read = |file: &str| std::fs::read_to_string(format!("/proc/{worker}/{file}"));
                if let (Ok(status), Ok(environment)) = (read("status"), read("environ")) {
                    seen = Some((status, environment, read("oom_score_adj")));
                }
            }
        })
        .unwrap();
    let (status, environment, oom) = seen.expect("the worker was seen at work");
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
    let seccomp = layers().contains(&("no-network (seccomp)", true));
    assert_eq!(field("Seccomp:"), if seccomp { "2" } else { "0" });
    // At most CAP_DAC_READ_SEARCH, bit 2.
    let left = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
    assert_eq!(left & !4, 0);
    assert_eq!(field("Threads:"), "1", "the library runs none of its own");
    if let Ok(oom) = oom {
        assert_eq!(oom.trim(), "800");
    }
}
