//! A failure costs one measurement and is reported by name; the agent goes on.

use std::path::PathBuf;

use latency::{
    AgentDevice, FailureKind, LatencyError, LatencySource, Limits, MeasureRequest, Model, Stage,
    Verdict,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{
    Convolution, device, endless, impatient, job, local, quick, request, worker_of,
};

/// Expects the request to fail like this, and the same agent to measure another model afterwards.
fn check(device: &mut AgentDevice, failing: &MeasureRequest, kind: FailureKind, needles: &[&str]) {
    let agent = device.agent_pid();
    match device.measure(failing) {
        Err(LatencyError::Failed(failure)) => {
            assert_eq!(failure.kind, kind, "{failure}");
            for needle in needles {
                assert!(failure.to_string().contains(needle), "{needle}: {failure}");
            }
        }
        Err(other) => panic!("{needles:?}: {other}"),
        Ok(all) => panic!(
            "{needles:?}: it was measured, {} samples",
            all.iter().map(|m| m.samples_ns.len()).sum::<usize>()
        ),
    }
    let next = request(Convolution::default().model("fine"), quick());
    assert!(device.measure(&next).unwrap()[0].is_valid());
    assert_eq!(device.agent_pid(), agent, "it is the same agent");
}

#[test]
fn bytes_that_are_no_model_are_refused_by_name() {
    let mut device = device();
    let onnx = Convolution::default().model("x").onnx().clone();
    let cut = Model::new("truncated", &onnx[..onnx.len() / 2]);
    check(
        &mut device,
        &request(cut, quick()),
        FailureKind::ModelRefused,
        &["loading `truncated`"],
    );
    let noise = Model::new("noise", vec![0xffu8; 300]);
    check(
        &mut device,
        &request(noise, quick()),
        FailureKind::ModelRefused,
        &["`noise`", "no ONNX file"],
    );
    let unknown = String::from_utf8_lossy(&onnx).contains("Relu").then(|| {
        let mut bytes = onnx.to_vec();
        let at = bytes
            .windows(4)
            .position(|window| window == b"Relu")
            .expect("the operator's name");
        bytes[at..at + 4].copy_from_slice(b"Rxlu");
        Model::new("unknown operator", bytes)
    });
    let unknown = unknown.expect("the fixture has a Relu");
    check(
        &mut device,
        &request(unknown, quick()),
        FailureKind::ModelRefused,
        &["`unknown operator`", "Rxlu"],
    );
}

#[test]
fn a_model_that_the_agent_cannot_or_may_not_run_is_refused() {
    let mut device = device();
    let external = Convolution {
        external: true,
        ..Convolution::default()
    }
    .model("external");
    check(
        &mut device,
        &request(external, quick()),
        FailureKind::ModelRefused,
        &["`weight`", "another file"],
    );
    let dynamic = Convolution {
        any_height: true,
        ..Convolution::default()
    }
    .model("dynamic");
    check(
        &mut device,
        &request(dynamic, quick()),
        FailureKind::ModelRefused,
        &["`x`", "axis 2"],
    );
    let empty = device.measure(&request(Model::new("empty", Vec::new()), quick()));
    assert!(matches!(empty, Err(LatencyError::Model { name, .. }) if name == "empty"));
}

/// A request for a model that computes NaN.
fn nan() -> MeasureRequest {
    let model = Convolution {
        weight: f32::NAN,
        ..Convolution::default()
    };
    request(model.model("nan"), quick())
}

#[test]
fn a_model_that_computes_nan_is_measured_and_invalid() {
    let all = device().measure(&nan()).unwrap();
    assert!(
        matches!(&all[0].verdict, Verdict::Invalid { reason } if reason.contains("not finite")),
        "{:?}",
        all[0].verdict
    );
}

#[test]
fn a_worker_beyond_its_time_is_killed() {
    let mut device = device();
    let model = || Convolution::default().model("slow");
    let at_once = MeasureRequest {
        limits: Limits {
            time_ns: 1,
            ..Limits::default()
        },
        ..request(model(), quick())
    };
    check(&mut device, &at_once, FailureKind::TimedOut, &["0 ms"]);
    let later = MeasureRequest {
        limits: Limits {
            time_ns: 2_000_000_000,
            ..Limits::default()
        },
        ..request(model(), endless())
    };
    check(&mut device, &later, FailureKind::TimedOut, &["2000 ms"]);
}

/// A request with large outputs.
fn large_batch(name: &str, channels: i64) -> MeasureRequest {
    let mut large = request(Convolution::with_channels(channels).model(name), quick());
    large.sampling.batch = 4000;
    large
}

#[test]
fn a_worker_beyond_its_memory_ends() {
    let mut device = device();
    let limits = |memory_bytes| Limits {
        memory_bytes,
        ..Limits::default()
    };
    // Two hundred megabytes of output do not fit into 64.
    let mut small = large_batch("small", 64);
    small.limits = limits(64 << 20);
    check(&mut device, &small, FailureKind::OutOfMemory, &["`small`"]);
    // One and a half gigabytes of output do not fit into one.
    let mut large = large_batch("large", 512);
    large.limits = limits(1 << 30);
    check(&mut device, &large, FailureKind::OutOfMemory, &["`large`"]);
}

/// Sends a signal to the worker while it samples. Expects the measurement to fail like this, and
/// the same agent to measure the same model afterwards.
fn check_signal(signal: Signal, limits: Limits, kind: FailureKind, needle: &str) {
    let mut device = device();
    let model = Convolution::default().model("victim");
    let agent = device.agent_pid().unwrap();
    let job = agent_protocol::MeasureJob {
        limits,
        ..job(&model, endless())
    };
    let client = device.client().unwrap();
    client.upload(&model).unwrap();
    let silence = std::time::Duration::from_secs(60);
    let outcome = client.measure(&job, silence, &mut |step| {
        if let (Stage::Sampling, Some(worker)) = (step.stage, worker_of(agent)) {
            // At a second report it may be gone already.
            let _ = kill(Pid::from_raw(worker), signal);
        }
    });
    match outcome {
        Err(LatencyError::Failed(failure)) => {
            assert_eq!((failure.kind, failure.stage), (kind, Stage::Sampling));
            assert!(failure.detail.contains(needle), "{failure}");
        }
        other => panic!("{other:?}"),
    }
    assert!(device.measure(&request(model, quick())).unwrap()[0].is_valid());
    assert_eq!(device.agent_pid(), Some(agent));
}

#[test]
fn the_failure_of_a_killed_worker_names_the_signal() {
    for (signal, name) in [
        (Signal::SIGKILL, "SIGKILL"),
        (Signal::SIGSEGV, "SIGSEGV"),
        (Signal::SIGABRT, "SIGABRT"),
        (Signal::SIGILL, "SIGILL"),
    ] {
        check_signal(signal, Limits::default(), FailureKind::Crashed, name);
    }
}

#[test]
fn a_worker_that_hangs_is_killed_when_its_time_is_up() {
    let limits = Limits {
        time_ns: 4_000_000_000,
        ..Limits::default()
    };
    check_signal(Signal::SIGSTOP, limits, FailureKind::TimedOut, "4000 ms");
}

/// A control group with a limit on memory.
struct Group(PathBuf);

impl Group {
    /// Makes the group; `None` where this user may not.
    fn with_memory(bytes: u64) -> Option<Self> {
        let name = format!("graphprune-test-{}", std::process::id());
        // Version 1, then 2, where the controller must be delegated.
        let layouts = [
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            ("/sys/fs/cgroup", "memory.max"),
        ];
        layouts.into_iter().find_map(|(parent, limit)| {
            let group = Self(PathBuf::from(parent).join(&name));
            std::fs::create_dir(&group.0).ok()?;
            std::fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A group that still has processes stays behind, which is harmless.
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn a_worker_that_the_kernel_kills_for_memory_fails_and_the_agent_goes_on() {
    let mut device = device();
    // Without a group, memory cannot run out without harm to this machine.
    let Some(group) = Group::with_memory(512 << 20) else {
        return;
    };
    let agent = device.agent_pid().unwrap();
    std::fs::write(group.0.join("cgroup.procs"), agent.to_string()).unwrap();
    let large = large_batch("large", 512);
    check(
        &mut device,
        &large,
        FailureKind::OutOfMemory,
        &["`large`", "kernel"],
    );
    drop(device);
}

/// Counts the workers of an agent during `task`, and passes the first one to `first`.
fn count_workers(agent: u32, first: fn(i32), task: impl FnOnce()) -> usize {
    let (end, ended) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let counting = scope.spawn(move || {
            let mut seen = Vec::new();
            while ended.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                if let Some(worker) = worker_of(agent).filter(|worker| !seen.contains(worker)) {
                    if seen.is_empty() {
                        first(worker);
                    }
                    seen.push(worker);
                }
                std::thread::yield_now();
            }
            seen.len()
        });
        task();
        drop(end);
        counting.join().unwrap()
    })
}

#[test]
fn a_measurement_is_repeated_as_often_as_configured_whatever_fails() {
    let patience = latency::Patience {
        retries: 2,
        ..impatient()
    };
    let spare: fn(i32) = |_| {};
    let kill_it: fn(i32) = |worker| kill(Pid::from_raw(worker), Signal::SIGKILL).unwrap();
    // Invalid every time, and invalid after a crash: both count.
    for first in [spare, kill_it] {
        let mut device = AgentDevice::start(local(), "local", patience.clone()).unwrap();
        let agent = device.agent_pid().unwrap();
        let count = count_workers(agent, first, || {
            let all = device.measure(&nan()).unwrap();
            assert!(!all[0].is_valid());
        });
        assert_eq!(count, 3, "two retries");
    }
}

#[test]
fn any_name_that_the_runtime_accepts_is_measured_profiled_and_run() {
    let mut device = device();
    for ending in [
        " \"quoted\"",
        r"\back\slash\",
        "line\nfeed\r\ttab",
        "\u{1b}[31mred",
        "\",\"args\" : {\"op_name\" : \"Fake\"}},",
        "畳み込み\u{202e}",
    ] {
        let conv = Convolution {
            ending: ending.to_owned(),
            ..Convolution::default()
        };
        let model = conv.model("named");
        let full = MeasureRequest {
            evidence: latency::Evidence::Full,
            runtime: latency::RuntimeOptions {
                optimisation: latency::Optimisation::None,
                ..latency::RuntimeOptions::default()
            },
            ..request(model.clone(), quick())
        };
        let all = device.measure(&full).unwrap();
        assert!(all[0].is_valid(), "{ending:?}: {:?}", all[0].verdict);
        let nodes = &all[0].runtime.node_providers;
        let listed: Vec<(&str, &str)> = nodes
            .iter()
            .map(|node| (&node.node[..], &node.op_type[..]))
            .collect();
        let (conv, relu) = (format!("conv{ending}"), format!("relu{ending}"));
        assert_eq!(listed, [(&conv[..], "Conv"), (&relu[..], "Relu")]);
        assert!(nodes.iter().all(|node| node.time_ns.is_some()));
        let input = vec![0.5; 3 * 16 * 16];
        let run = device.run(&model, &input, &[1, 3, 16, 16], &full.runtime);
        assert_eq!(run.unwrap().len(), 16 * 14 * 14, "{ending:?}");
    }
}

#[test]
fn control_characters_of_names_in_failures_are_escaped() {
    let external = Convolution {
        external: true,
        ending: "\u{1b}[2J\n\u{7}".into(),
        ..Convolution::default()
    };
    let error = device()
        .measure(&request(external.model("m"), quick()))
        .unwrap_err()
        .to_string();
    assert!(error.contains(r"weight\u{1b}[2J\n\u{7}"), "{error}");
    assert!(!error.contains(char::is_control), "{error:?}");
}

#[test]
fn a_long_name_is_refused_with_its_beginning() {
    let mut device = device();
    let long = Convolution {
        ending: "x".repeat(1 << 20),
        ..Convolution::default()
    };
    check(
        &mut device,
        &request(long.model("long"), quick()),
        FailureKind::ModelRefused,
        &["`long`", "has 1048577 bytes (`xxx", "rename it"],
    );
}
