//! How often the 95 % interval of a ratio holds the quiet machine's long-run value.
//!
//! `cargo bench -p graphprune-tests --bench coverage [-- CONDITION...] [--runs N] [--pairs 1,3]
//! [--raw FILE]`: four pairs of networks, 30 runs each, on the quiet machine and beside other
//! programs: `quiet`, `loop` (one busy loop), `loops` (two), `memory` (a program that streams
//! through memory). A run is what `graphprune measure` does by default, with the best time of the
//! reference so far in the store. A run that calls itself invalid or doubtful holds nothing and is
//! counted apart. The long-run value is the mean of the quiet processes in each round of
//! conditions, eight or more: the machine's pace drifts by the minute, so it is taken over the same
//! time as the runs. An interleaved loop in Python over 8 processes is printed beside it. `--raw`
//! adds a line for each run to a file.
//!
//! A second table compares estimators on the same samples: each takes one ratio from a process, and
//! all are averaged over processes alike. Each is judged by its own long-run value.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use graphprune_tests::Peer;
use latency::stats::Interval;
use latency::{
    AgentDevice, Local, MeasureRequest, Measurement, Model, Patience, ProcessFigures, Processes,
    Profile, measure_near_best, over_processes, stats,
};
use model_zoo::ZooConfig;

const RUNS: usize = 30;
/// The fewest processes of the long-run value in each round of conditions.
const QUIET: u32 = 8;
/// Effort of `graphprune measure` by default.
const EFFORT: f64 = 4.0;
/// Bytes through which the memory load streams: more than any cache.
const STREAM: usize = 256 << 20;

/// What else the machine does.
const CONDITIONS: [(&str, &[&str]); 4] = [
    ("quiet", &[]),
    ("memory", &["stream"]),
    ("loop", &["spin"]),
    ("loops", &["spin", "spin"]),
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

/// A value of one model's samples in a process, ns ascending.
type Estimator = fn(&[f64]) -> Option<f64>;

/// What is compared with the product's 5th percentile.
const ESTIMATORS: [(&str, Estimator); 3] = [
    ("median of all samples", |sorted| {
        stats::percentile(sorted, 50.0)
    }),
    ("25th percentile", |sorted| stats::percentile(sorted, 25.0)),
    ("mean without the slowest fifth", |sorted| {
        let kept = &sorted[..sorted.len() - sorted.len() / 5];
        (!kept.is_empty()).then(|| kept.iter().sum::<f64>() / kept.len() as f64)
    }),
];

/// This machine, and what is known of it.
struct Machine {
    device: AgentDevice,
    profile: Profile,
    /// The best time of each pair's reference, ns.
    best_ns: BTreeMap<&'static str, f64>,
}

/// A pair, measured once: the candidate, then the reference.
struct Measured([Measurement; 2]);

impl Measured {
    /// In `processes`, or in as many as the interval needs.
    fn of(machine: &mut Machine, pair: &Pair, processes: Option<Processes>) -> Self {
        let models = vec![pair.candidate.clone()];
        let reference = Some(pair.reference.clone());
        let request = machine.profile.request(models, reference);
        let request = request.thorough(EFFORT);
        let request = MeasureRequest {
            processes: processes.unwrap_or(request.processes),
            ..request
        };
        let best = machine.best_ns.get(pair.name).copied();
        let all = measure_near_best(&mut machine.device, &request, best);
        let all = all.expect("the device measures");
        let measured = Self(all.try_into().expect("a candidate and a reference"));
        let [_, reference] = &measured.0;
        if reference.is_valid() {
            let best = machine.best_ns.entry(pair.name).or_insert(f64::INFINITY);
            *best = best.min(reference.p5_ns);
        }
        measured
    }

    /// The ratio of each process, by the product's estimator and then by the others.
    fn ratios(&self) -> Vec<Vec<f64>> {
        let [candidate, reference] = &self.0;
        let own = candidate.processes.iter().filter_map(|p| p.ratio).collect();
        let parts = parts(candidate).into_iter().zip(parts(reference));
        let parts: Vec<_> = parts.collect();
        let by = |of: Estimator| {
            let ratio = |(candidate, reference): &(Vec<f64>, Vec<f64>)| {
                Some(of(candidate)? / of(reference)?)
            };
            parts.iter().filter_map(ratio).collect()
        };
        let others = ESTIMATORS.iter().map(|(_, of)| by(*of));
        std::iter::once(own).chain(others).collect()
    }
}

/// The samples of each process, ascending.
fn parts(m: &Measurement) -> Vec<Vec<f64>> {
    let mut rest = &m.samples_ns[..];
    let part = |process: &ProcessFigures| {
        let (part, after) = rest.split_at(process.samples.min(rest.len()));
        rest = after;
        stats::ascending(part)
    };
    m.processes.iter().map(part).collect()
}

/// The ratios of some processes on the quiet machine, by each estimator.
fn series(machine: &mut Machine, pair: &Pair) -> Vec<Vec<f64>> {
    let processes = Processes {
        fewest: QUIET,
        // A neighbour may slow most of the first ones.
        most: 2 * QUIET,
    };
    Measured::of(machine, pair, Some(processes)).ratios()
}

/// The ratio by an independent program: of the 5th percentiles, and by medians.
fn in_python(pair: &Pair) -> Option<String> {
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
    let answer = peer.ask(&format!("ratio {candidate} {reference} 8 1"));
    let ratios = answer.split_whitespace().map(str::parse::<f64>);
    let ratios: Vec<f64> = ratios.collect::<Result<_, _>>().ok()?;
    let [low, median] = ratios.try_into().ok()?;
    Some(format!("{low:.4}, by medians {median:.4}"))
}

/// What a run says of itself.
#[derive(Debug, PartialEq)]
enum Claim {
    /// Its interval is to be relied on.
    Sure,
    /// The reference was slow, so the ratio may be another.
    Doubtful,
    /// It gives no figure.
    Invalid,
}

/// One run: its intervals by each estimator, if it is sure of them, and its duration.
struct Run {
    claim: Claim,
    intervals: Vec<Option<Interval>>,
    /// The interval, sure or not.
    measured: Option<Interval>,
    /// The reference's median, ns.
    reference_median_ns: f64,
    /// The 5th percentile of its samples, ns.
    reference_ns: f64,
    /// Cores that other programs kept busy.
    others_cores: Option<f64>,
    seconds: f64,
    processes: usize,
}

impl Run {
    fn of(machine: &mut Machine, pair: &Pair) -> Self {
        let clock = Instant::now();
        let measured = Measured::of(machine, pair, None);
        let candidate = &measured.0[0];
        let claim = match (candidate.is_valid(), candidate.reference_excess_rel) {
            (false, _) => Claim::Invalid,
            (true, Some(_)) => Claim::Doubtful,
            (true, None) => Claim::Sure,
        };
        let intervals = match claim {
            Claim::Sure => {
                let others = measured.ratios().split_off(1);
                let others = others.iter().map(|of| over_processes(of));
                let own = candidate.ratio.map(|ratio| ratio.interval);
                std::iter::once(own).chain(others).collect()
            }
            Claim::Doubtful | Claim::Invalid => Vec::new(),
        };
        Self {
            seconds: clock.elapsed().as_secs_f64(),
            processes: candidate.processes.len(),
            measured: candidate.ratio.map(|ratio| ratio.interval),
            reference_median_ns: measured.0[1].median_ns,
            reference_ns: measured.0[1].p5_ns,
            others_cores: candidate.others_cores,
            claim,
            intervals,
        }
    }

    /// Its interval by the product's estimator (0) or another.
    fn interval(&self, estimator: usize) -> Option<Interval> {
        *self.intervals.get(estimator)?
    }
}

/// The runs of one pair under one condition.
struct Series {
    condition: &'static str,
    runs: Vec<Run>,
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    stats::median(&values.collect::<Vec<_>>()).unwrap_or(f64::NAN)
}

impl Series {
    /// How many intervals hold the truth, of how many.
    fn held(&self, estimator: usize, truth: f64) -> (usize, Vec<Interval>) {
        let valid = self.runs.iter().filter_map(|run| run.interval(estimator));
        let valid: Vec<Interval> = valid.collect();
        let held = valid.iter().filter(|i| i.low <= truth && truth <= i.high);
        (held.count(), valid)
    }

    fn report(&self, pair: &Pair, truth: f64, best_ns: f64) {
        let (held, valid) = self.held(0, truth);
        let slower = self.runs.iter().map(|run| run.reference_ns / best_ns);
        let claims = |claim| self.runs.iter().filter(|run| run.claim == claim).count();
        println!(
            "| {} | {} | {truth:.4} | {held} of {} | {} | {} | {:.4} | ±{:.2} % | {:.0} to {:.0} % | {:.1} | {:.1} s |",
            pair.name,
            self.condition,
            valid.len(),
            claims(Claim::Doubtful),
            claims(Claim::Invalid),
            median(valid.iter().map(|i| i.value)),
            median(valid.iter().map(Interval::half_width_rel)) * 100.0,
            (slower.clone().fold(f64::INFINITY, f64::min) - 1.0) * 100.0,
            (slower.fold(0.0, f64::max) - 1.0) * 100.0,
            median(self.runs.iter().map(|run| run.processes as f64)),
            median(self.runs.iter().map(|run| run.seconds)),
        );
    }

    /// A line of tab-separated figures for each run.
    fn raw(&self, pair: &Pair, best_ns: f64) -> String {
        let line = |run: &Run| {
            let of = run.measured.map(|of| (of.value, of.low, of.high));
            let (value, low, high) = of.unwrap_or((f64::NAN, f64::NAN, f64::NAN));
            format!(
                "{}\t{}\t{:?}\t{value:.5}\t{low:.5}\t{high:.5}\t{:.4}\t{:.0}\t{:.2}\t{:.1}\n",
                pair.name,
                self.condition,
                run.claim,
                run.reference_ns / best_ns - 1.0,
                run.reference_median_ns,
                run.others_cores.unwrap_or(f64::NAN),
                run.seconds,
            )
        };
        self.runs.iter().map(line).collect()
    }

    fn compare(&self, pair: &Pair, truths: &[f64]) {
        let names = ESTIMATORS.iter().map(|(name, _)| *name);
        let names = std::iter::once("5th percentile (the product's)").chain(names);
        for (i, (name, truth)) in names.zip(truths).enumerate() {
            let (held, valid) = self.held(i, *truth);
            println!(
                "| {} | {} | {name} | {truth:.4} | {held} of {} | {:+.2} % | ±{:.2} % |",
                pair.name,
                self.condition,
                valid.len(),
                (median(valid.iter().map(|of| of.value)) / truth - 1.0) * 100.0,
                median(valid.iter().map(Interval::half_width_rel)) * 100.0,
            );
        }
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut named, mut count, mut chosen) = (Vec::new(), RUNS, Vec::new());
    let mut raw = None;
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--load" => load(&value()),
            "--runs" => count = value().parse().expect("--runs takes a number"),
            "--raw" => raw = Some(value()),
            "--pairs" => {
                let number = |n: &str| n.parse::<usize>().expect("--pairs takes numbers from 1");
                chosen = value().split(',').map(number).collect();
            }
            other if other.starts_with('-') => {}
            _ => named.push(argument),
        }
    }
    let conditions: Vec<_> = CONDITIONS
        .iter()
        .filter(|(name, _)| named.is_empty() || named.iter().any(|n| n == name))
        .collect();
    let profile = Profile::local().expect("the profile is built in");
    let device = AgentDevice::start(Local::default(), &profile.name, Patience::default())
        .expect("the agent starts");
    let mut machine = Machine {
        device,
        profile,
        best_ns: BTreeMap::new(),
    };
    println!(
        "| pair | condition | long-run ratio | held | doubtful | invalid | median ratio | half the interval | reference over its best | processes | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let mut comparisons = Vec::new();
    for (_, pair) in (1..)
        .zip(pairs())
        .filter(|(number, _)| chosen.is_empty() || chosen.contains(number))
    {
        let python = in_python(&pair);
        let of_condition = |&&(condition, _): &&(&'static str, _)| Series {
            condition,
            runs: Vec::new(),
        };
        let mut all: Vec<Series> = conditions.iter().map(of_condition).collect();
        let mut ratios: Vec<Vec<f64>> = vec![Vec::new(); ESTIMATORS.len() + 1];
        for _ in 0..count {
            for (at, (own, (_, loads))) in all.iter_mut().zip(&conditions).enumerate() {
                // Far from the memory load, after which the machine is another for a while.
                if at == 1 || conditions.len() == 1 {
                    for (all, more) in ratios.iter_mut().zip(series(&mut machine, &pair)) {
                        all.extend(more);
                    }
                }
                let _loads = Loads::start(loads);
                own.runs.push(Run::of(&mut machine, &pair));
            }
        }
        let truths: Vec<Interval> = ratios.iter().filter_map(|of| over_processes(of)).collect();
        let truth = truths.first().expect("the quiet machine measures");
        let best_ns = machine.best_ns[pair.name];
        for series in &all {
            series.report(&pair, truth.value, best_ns);
        }
        if let Some(path) = &raw {
            let lines = all.iter().map(|series| series.raw(&pair, best_ns));
            let file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path);
            let written =
                file.and_then(|mut file| file.write_all(lines.collect::<String>().as_bytes()));
            written.expect("the runs are written");
        }
        println!(
            "| {} | long run | {:.4} ({:.4} to {:.4}), {} processes | in Python {} | | | | | | | |",
            pair.name,
            truth.value,
            truth.low,
            truth.high,
            ratios[0].len(),
            python.as_deref().unwrap_or("not installed"),
        );
        comparisons.push((
            pair,
            all,
            truths.iter().map(|of| of.value).collect::<Vec<_>>(),
        ));
    }
    println!(
        "\n| pair | condition | estimator | its long-run ratio | held | median error | half the interval |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (pair, all, truths) in &comparisons {
        for series in all {
            series.compare(pair, truths);
        }
    }
}
