//! How often the 95 % interval of a ratio holds the quiet machine's long-run value.
//!
//! `cargo bench -p graphprune-tests --bench coverage [-- CONDITION...] [--runs N] [--truth N]`:
//! four pairs of networks, 30 runs each, on the quiet machine and beside other programs: `quiet`,
//! `loop` (one busy loop), `loops` (two), `memory` (a program that streams through memory). A run
//! is what `graphprune measure` does by default. A run that calls itself invalid holds nothing and
//! is counted apart. The long-run value is a series of 60 processes before the runs and another
//! one after them, both quiet; an interleaved loop in Python over 8 processes is printed beside it.

use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use graphprune_tests::Peer;
use latency::stats::Interval;
use latency::{
    AgentDevice, LatencySource, Local, MeasureRequest, Measurement, Model, Patience, Processes,
    Profile, over_processes, stats,
};
use model_zoo::ZooConfig;

const RUNS: usize = 30;
const TRUTH: u32 = 60;
/// Effort of `graphprune measure` by default.
const EFFORT: f64 = 4.0;
/// Bytes through which the memory load streams: more than any cache.
const STREAM: usize = 256 << 20;

/// What else the machine does.
const CONDITIONS: [(&str, &[&str]); 4] = [
    ("quiet", &[]),
    ("loop", &["spin"]),
    ("loops", &["spin", "spin"]),
    ("memory", &["stream"]),
];

/// Programs that run beside the measurements until this is dropped.
struct Loads(Vec<Child>);

impl Loads {
    fn start(kinds: &[&str]) -> Self {
        let program = std::env::current_exe().expect("this program");
        let start = |kind: &&str| {
            Command::new(&program)
                .args(["--load", kind])
                .stdin(Stdio::null())
                .spawn()
                .expect("a load starts")
        };
        Self(kinds.iter().map(start).collect())
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may have been killed by the user.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Loads one core, or the memory, until it is killed.
fn load(kind: &str) -> ! {
    let mut words = vec![1u64; STREAM / size_of::<u64>()];
    let mut sum = 0u64;
    loop {
        if kind == "stream" {
            for word in &mut words {
                sum = sum.wrapping_add(*word);
                *word = sum;
            }
        } else {
            sum = black_box(sum.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
        black_box(sum);
    }
}

/// A candidate beside its reference.
struct Pair {
    name: &'static str,
    candidate: Model,
    reference: Model,
}

fn pairs() -> Vec<Pair> {
    let model = |name: &str, side: usize, width: f64| {
        let config = ZooConfig {
            input: [3, side, side],
            width_mult: width,
            ..ZooConfig::default()
        };
        let graph = model_zoo::build(name, &config).expect("a network of the zoo");
        let deployed = onnx_graph::deploy(&graph, None).expect("it is written");
        Model::new(name, deployed.bytes)
    };
    let pair = |name, candidate, reference| Pair {
        name,
        candidate,
        reference,
    };
    vec![
        pair(
            "ResNet-20 / itself",
            model("resnet20", 32, 1.0),
            model("resnet20", 32, 1.0),
        ),
        pair(
            "ResNet-20 of half the width / ResNet-20",
            model("resnet20", 32, 0.5),
            model("resnet20", 32, 1.0),
        ),
        pair(
            "ResNet-20 / ResNet-56",
            model("resnet20", 32, 1.0),
            model("resnet56", 32, 1.0),
        ),
        pair(
            "MobileNetV2 of half the width / MobileNetV2",
            model("mobilenet_v2", 96, 0.5),
            model("mobilenet_v2", 96, 1.0),
        ),
    ]
}

/// Measures a pair once.
fn measure(
    device: &mut AgentDevice,
    profile: &Profile,
    pair: &Pair,
    processes: Option<Processes>,
) -> Measurement {
    let request = profile.request(vec![pair.candidate.clone()], Some(pair.reference.clone()));
    let request = request.thorough(EFFORT);
    let request = MeasureRequest {
        processes: processes.unwrap_or(request.processes),
        ..request
    };
    let all = device.measure(&request).expect("the device measures");
    all.into_iter().next().expect("one measurement a model")
}

/// The ratios of many processes on the quiet machine.
fn series(device: &mut AgentDevice, profile: &Profile, pair: &Pair, count: u32) -> Vec<f64> {
    let processes = Processes {
        fewest: count,
        most: count,
    };
    let measured = measure(device, profile, pair, Some(processes));
    measured.processes.iter().filter_map(|p| p.ratio).collect()
}

/// The ratio by an independent program.
fn in_python(pair: &Pair) -> Option<f64> {
    let mut peer = Peer::start_runtime("ort_pair.py")?;
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, model: &Model| {
        let path = folder.path().join(name);
        std::fs::write(&path, model.onnx()).expect("the model is written");
        path.display().to_string()
    };
    let (candidate, reference) = (
        file("c.onnx", &pair.candidate),
        file("r.onnx", &pair.reference),
    );
    peer.ask(&format!("ratio {candidate} {reference} 8 1"))
        .parse()
        .ok()
}

/// One run: its interval, unless it is invalid, and its duration.
struct Run {
    interval: Option<Interval>,
    seconds: f64,
    processes: usize,
}

fn report(condition: &str, pair: &Pair, truth: f64, runs: &[Run]) {
    let valid: Vec<Interval> = runs.iter().filter_map(|run| run.interval).collect();
    let held = valid.iter().filter(|i| i.low <= truth && truth <= i.high);
    let median = |values: Vec<f64>| stats::median(&values).unwrap_or(f64::NAN);
    println!(
        "| {} | {condition} | {truth:.4} | {} of {} | {} | {:.4} | ±{:.2} % | {:.1} | {:.1} s |",
        pair.name,
        held.count(),
        valid.len(),
        runs.len() - valid.len(),
        median(valid.iter().map(|i| i.value).collect()),
        median(valid.iter().map(Interval::half_width_rel).collect()) * 100.0,
        median(runs.iter().map(|run| run.processes as f64).collect()),
        median(runs.iter().map(|run| run.seconds).collect()),
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut named, mut count, mut long) = (Vec::new(), RUNS, TRUTH);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--load" => load(&value()),
            "--runs" => count = value().parse().expect("--runs takes a number"),
            "--truth" => long = value().parse().expect("--truth takes a number"),
            other if other.starts_with('-') => {}
            _ => named.push(argument),
        }
    }
    let conditions: Vec<_> = CONDITIONS
        .iter()
        .filter(|(name, _)| named.is_empty() || named.iter().any(|n| n == name))
        .collect();
    let profile = Profile::local().expect("the profile is built in");
    let mut device = AgentDevice::start(Local::default(), &profile.name, Patience::default())
        .expect("the agent starts");
    println!(
        "| pair | condition | long-run ratio | held | invalid | median ratio | half the interval | processes | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for pair in &pairs() {
        let mut ratios = series(&mut device, &profile, pair, long);
        let python = in_python(pair);
        let mut all = Vec::new();
        for (name, loads) in &conditions {
            let _loads = Loads::start(loads);
            let run = |_| {
                let clock = Instant::now();
                let m = measure(&mut device, &profile, pair, None);
                Run {
                    interval: m.ratio.map(|r| r.interval).filter(|_| m.is_valid()),
                    seconds: clock.elapsed().as_secs_f64(),
                    processes: m.processes.len(),
                }
            };
            let runs: Vec<Run> = (0..count).map(run).collect();
            all.push((*name, runs));
        }
        ratios.extend(series(&mut device, &profile, pair, long));
        let truth = over_processes(&ratios).expect("the quiet machine measures");
        for (name, runs) in &all {
            report(name, pair, truth.value, runs);
        }
        println!(
            "| {} | long run | {:.4} ({:.4} to {:.4}), {} processes | in Python {} | | | | | |",
            pair.name,
            truth.value,
            truth.low,
            truth.high,
            ratios.len(),
            python.map_or("not installed".into(), |ratio| format!("{ratio:.4}")),
        );
    }
}
