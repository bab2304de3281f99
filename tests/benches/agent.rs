//! The reliability of the agent's figures on this machine.
//!
//! `cargo bench -p graphprune-tests --bench agent [-- peer | spread | soak]`, all of them by
//! default:
//! - `peer`: the agent's median and that of ONNX Runtime's Python interface, with the same
//!   library version, model and number of threads, alternating;
//! - `spread`: twenty measurements of one model, absolute and as a ratio to an interleaved
//!   reference;
//! - `soak`: a thousand measurements by one agent; its memory, files and threads before and
//!   after.

use std::path::Path;

use graphprune_tests::Peer;
use latency::{
    AgentDevice, LatencySource, Local, MeasureRequest, Model, Patience, Profile, Sampling, stats,
};
use model_zoo::ZooConfig;

const SPREAD: usize = 20;
const PAIRS: usize = 24;
const SOAK: usize = 1000;

fn model(name: &str, side: usize) -> Model {
    let config = ZooConfig {
        input: [3, side, side],
        ..ZooConfig::default()
    };
    let graph = model_zoo::build(name, &config).expect("a network of the zoo");
    let deployed = onnx_graph::deploy(&graph, None).expect("it is written");
    Model::new(name, deployed.bytes)
}

fn device() -> (AgentDevice, Profile) {
    let profile = Profile::local().expect("the profile is built in");
    let device = AgentDevice::start(Local::default(), &profile.name, Patience::default())
        .expect("the agent starts");
    (device, profile)
}

fn request(model: &Model, reference: Option<&Model>, sampling: Sampling) -> MeasureRequest {
    MeasureRequest {
        models: vec![model.clone()],
        reference: reference.cloned(),
        sampling,
        ..MeasureRequest::default()
    }
}

/// The agent and the peer alternate every few tenths of a second.
fn peer(name: &str, side: usize) {
    let Some(mut python) = Peer::start_runtime("ort_latency.py") else {
        println!("peer: ONNX Runtime is not installed; `cargo xtask setup` does that");
        return;
    };
    let model = model(name, side);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("model.onnx");
    std::fs::write(&file, model.onnx()).expect("the model is written");
    assert_eq!(python.ask(&format!("load {}", file.display())), "ok");
    let (mut device, profile) = device();
    let sampling = Sampling {
        max_duration_ns: 400_000_000,
        min_rounds: 20,
        // The scheduler prefers neither side.
        nice: 0,
        ..profile.sampling
    };
    let (mut ratios, mut agents, mut pythons) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..PAIRS {
        let ours = |device: &mut AgentDevice| {
            let all = device
                .measure(&request(&model, None, sampling.clone()))
                .expect("the agent measures");
            all[0].median_ns
        };
        // The order alternates, so a machine that becomes busier favours neither side.
        let first = pair % 2 == 0;
        let early = first.then(|| ours(&mut device));
        let runs = (4e8 / early.or(agents.last().copied()).unwrap_or(1e6)).clamp(20.0, 4000.0);
        let peer: f64 = python
            .ask(&format!("time {}", runs as usize))
            .parse()
            .expect("a number");
        let agent = early.unwrap_or_else(|| ours(&mut device));
        ratios.push(agent / peer);
        agents.push(agent);
        pythons.push(peer);
    }
    let (low, high) = stats::median_ci(&ratios).expect("enough pairs");
    println!(
        "peer: {name} at {side}: agent {:.3} ms, Python {:.3} ms; ratio {:.4} (95 % interval {low:.4} to {high:.4}) over {PAIRS} pairs",
        stats::median(&agents).unwrap_or(0.0) / 1e6,
        stats::median(&pythons).unwrap_or(0.0) / 1e6,
        stats::median(&ratios).unwrap_or(0.0),
    );
}

fn spread() {
    let (mut device, profile) = device();
    let (model, reference) = (model("mobilenet_v2", 224), model("resnet18", 224));
    let (mut alone, mut ratios) = (Vec::new(), Vec::new());
    for _ in 0..SPREAD {
        let one = device
            .measure(&request(&model, None, profile.sampling.clone()))
            .expect("the agent measures");
        alone.push(one[0].median_ns);
        let both = device
            .measure(&request(&model, Some(&reference), profile.sampling.clone()))
            .expect("the agent measures");
        ratios.extend(both[0].ratio.map(|ratio| ratio.interval.value));
    }
    let say = |what: &str, values: &[f64]| {
        let sorted = {
            let mut sorted = values.to_vec();
            sorted.sort_by(f64::total_cmp);
            sorted
        };
        let [first, .., last] = sorted[..] else {
            return;
        };
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let deviation = (sorted.iter().map(|v| (v - mean).powi(2)).sum::<f64>()
            / (sorted.len() - 1) as f64)
            .sqrt();
        println!(
            "spread: {what}: {} values, largest over smallest {:.1} %, standard deviation {:.2} %",
            sorted.len(),
            (last / first - 1.0) * 100.0,
            deviation / mean * 100.0
        );
    };
    say("MobileNetV2 alone", &alone);
    say("MobileNetV2 over ResNet-18, interleaved", &ratios);
}

/// Returns resident memory in KiB, open files and threads of a process.
fn holds(pid: u32) -> (u64, usize, usize) {
    let place = Path::new("/proc").join(pid.to_string());
    let status = std::fs::read_to_string(place.join("status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse()
            .ok()
    });
    let count = |what: &str| std::fs::read_dir(place.join(what)).map_or(0, Iterator::count);
    (rss.unwrap_or(0), count("fd"), count("task"))
}

fn soak() {
    let (mut device, profile) = device();
    let pid = device.agent_pid().expect("a local agent");
    let sampling = Sampling {
        warmup_ns: 1_000_000,
        block_ns: 500_000,
        min_rounds: 8,
        max_rounds: 16,
        max_duration_ns: 50_000_000,
        ci_accept_rel: 10.0,
        ..profile.sampling
    };
    let names = ["resnet20", "resnet32"];
    let models = names.map(|name| model(name, 32));
    let mut invalid = 0;
    println!(
        "soak: before: {:?} (KiB resident, files, threads)",
        holds(pid)
    );
    for i in 0..SOAK {
        let all = device
            .measure(&request(&models[i % 2], Some(&models[0]), sampling.clone()))
            .expect("the agent measures");
        invalid += all.iter().filter(|m| !m.is_valid()).count();
        if (i + 1) % 250 == 0 {
            println!("soak: after {}: {:?}", i + 1, holds(pid));
        }
    }
    assert_eq!(device.agent_pid(), Some(pid), "it is the same agent");
    println!("soak: {SOAK} measurements by one agent, {invalid} results not valid");
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let selected = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    if selected("peer") {
        peer("resnet18", 224);
        peer("mobilenet_v2", 224);
        peer("resnet20", 32);
    }
    if selected("spread") {
        spread();
    }
    if selected("soak") {
        soak();
    }
}
