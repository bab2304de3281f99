//! What a worker at work may not do, as the kernel tells of it.

use std::process::Command;
use std::time::Duration;

use latency::{LatencySource, Stage};

use crate::fixture::{Convolution, agent, device, endless, job, quick, request};
use crate::lives::worker_of;
use crate::wire::Bare;

#[test]
fn a_measurement_tells_what_confined_its_worker_as_the_device_does() {
    let mut device = device();
    let told = device.describe().confinement;
    for always in ["no-new-privileges", "limits"] {
        assert!(told.iter().any(|name| name == always), "{told:?}");
    }
    let all = device
        .measure(&request(Convolution::default().model("m"), quick()))
        .unwrap();
    assert_eq!(all[0].runtime.confinement, told);
}

#[test]
fn a_worker_at_work_is_confined_and_does_not_know_the_token() {
    let mut command = Command::new(agent());
    command.env("GRAPHPRUNE_AGENT_TOKEN", "not this one, but one like it");
    let bare = Bare::start_by(command, &[]);
    let (model, mut client) = (Convolution::default().model("m"), bare.client());
    client.upload(&model).unwrap();
    let in_effect = client.device().confinement.clone();
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
    assert_eq!(field("NoNewPrivs:"), "1");
    if in_effect.iter().any(|name| name.contains("seccomp")) {
        assert_eq!(field("Seccomp:"), "2");
    }
    if in_effect.iter().any(|name| name == "no-capabilities") {
        // At most CAP_DAC_READ_SEARCH, bit 2.
        let left = u64::from_str_radix(&field("CapEff:"), 16).unwrap();
        assert_eq!(left & !4, 0);
    }
    if let Ok(oom) = oom {
        assert_eq!(oom.trim(), "800");
    }
}
