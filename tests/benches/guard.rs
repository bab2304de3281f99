//! The reliability of the guard over latency on this machine: how often it raises a false alarm,
//! and how often it finds a network that is slower.
//!
//! `cargo bench -p graphprune-tests --bench guard [-- self | slower] [--count N]`; by default
//! both, with 100 comparisons:
//! - `self`: a ResNet-20 with itself;
//! - `slower`: a ResNet-20 with a network in which one layer is wider. The layer and its width
//!   are chosen by measurement, so that the network takes about 5 % more time; the true ratio
//!   printed beside the result comes from long series before and after the comparisons.
//!
//! A comparison is what `graphprune bench` does for a model, with its defaults. An undecided
//! comparison counts as no alarm. `GUARD_JSON` names a file for the raw figures.

use std::time::Instant;

use channels::{Analysis, GroupId, PrunePlan, analyse, apply, cut, importance_order};
use latency::stats::Interval;
use latency::{
    AgentDevice, LatencySource, Local, MeasureRequest, Measurement, Model, Patience, Profile,
    Sampling,
};
use model_zoo::ZooConfig;
use onnx_graph::{Graph, fold_batch_norm};
use regression::{
    Baseline, BaselineFolder, Change, Device, Guard, ModelPair, SeriesConfig, Verdict, change,
    measure_series,
};
use serde::Serialize;

const COUNT: usize = 100;
/// Relative slowdown of the slower network.
const SLOWER: f64 = 0.05;
/// Processes of a series that estimates the true ratio.
const TRUTH: usize = 16;

/// A network with twice the channels, from which all others are cut, so that a single layer can
/// be wider than the original's.
struct Wide {
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
}

impl Wide {
    fn new() -> Self {
        let config = ZooConfig {
            width_mult: 2.0,
            ..ZooConfig::default()
        };
        let graph = model_zoo::build("resnet20", &config).expect("a network of the zoo");
        let analysis = analyse(&graph).expect("the network is sound");
        Self {
            order: importance_order(&graph, &analysis),
            analysis,
            graph,
        }
    }

    /// The published widths.
    fn published(&self) -> Vec<usize> {
        let groups = self.analysis.groups().iter();
        groups.map(|group| group.channels / 2).collect()
    }

    /// The published widths with one layer within a residual branch wider, in steps of eight
    /// channels.
    fn candidates(&self) -> Vec<Vec<usize>> {
        let published = self.published();
        let inner = (0..published.len()).filter(|&i| self.analysis.removal(GroupId(i)).is_some());
        let widened = |i: usize| {
            let published = published.clone();
            (8..=published[i].min(48)).step_by(8).map(move |more| {
                let mut widths = published.clone();
                widths[i] += more;
                widths
            })
        };
        inner.flat_map(widened).collect()
    }

    fn model(&self, widths: &[usize]) -> Model {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths).expect("it fits");
        let cut = cut(&self.graph, &self.analysis, &plan).expect("it fits");
        let pruned = apply(&self.graph, &cut).expect("it applies");
        let mut deployed = fold_batch_norm(&pruned).expect("it folds");
        deployed.remove_dead();
        // A baseline identifies a model by its name.
        Model::new("net", onnx_graph::write(&deployed).expect("it is written"))
    }
}

/// Returns the wider network whose latency is closest to the target.
fn slower(device: &mut Device, wide: &Wide, original: &Model) -> Model {
    let candidates = wide.candidates();
    let mut nearest: Option<(f64, Vec<usize>)> = None;
    for batch in candidates.chunks(8) {
        let request = MeasureRequest {
            models: batch.iter().map(|widths| wide.model(widths)).collect(),
            reference: Some(original.clone()),
            sampling: Sampling {
                max_duration_ns: 8_000_000_000,
                ci_target_rel: 0.005,
                ..device.profile.sampling.clone()
            },
            ..MeasureRequest::default()
        };
        let all = device
            .source
            .measure(&request)
            .expect("the device measures");
        for (widths, m) in batch.iter().zip(all) {
            let Some(ratio) = m.ratio.filter(|_| m.is_valid()) else {
                continue;
            };
            let off = |ratio: f64| (ratio - 1.0 - SLOWER).abs();
            if nearest
                .as_ref()
                .is_none_or(|(best, _)| off(ratio.interval.value) < off(*best))
            {
                nearest = Some((ratio.interval.value, widths.clone()));
            }
        }
    }
    let (ratio, widths) = nearest.expect("a candidate was measured");
    println!(
        "slower: {} candidates measured; widths {widths:?} instead of {:?}, measured at {ratio:.4}",
        candidates.len(),
        wide.published()
    );
    wide.model(&widths)
}

#[derive(Serialize)]
struct Judged {
    outcome: &'static str,
    change: Option<Change>,
    /// The ratio of each process.
    ratios: Vec<f64>,
    seconds: f64,
}

/// Ratios of a series of the highest effort, process by process.
fn truth(device: &mut Device, new: &Model, old: &Model) -> Vec<f64> {
    let config = SeriesConfig {
        min_processes: TRUTH,
        max_processes: TRUTH,
        ..SeriesConfig::default()
    };
    let (source, profile) = (device.source.as_mut(), &device.profile);
    let pair = ModelPair {
        model: new,
        reference: Some(old),
    };
    let series = measure_series(source, profile, pair, &config, |_, _| {});
    let series = series.expect("the device measures");
    series.processes.iter().filter_map(|p| p.ratio).collect()
}

fn compare(device: &mut Device, old: &Model, new: &Model, count: usize) -> Vec<Judged> {
    let place = tempfile::tempdir().expect("a folder");
    let folder = BaselineFolder::new(place.path());
    let mut guard = Guard {
        folder: &folder,
        baseline: None,
        config: SeriesConfig::default(),
        adds: false,
        largest_growth: None,
        largest_memory_growth: None,
    };
    let saved = guard
        .turn(device, old, |_, _| {})
        .expect("the device measures");
    let baseline = Baseline::new(saved.entry.into_iter().collect());
    folder
        .write("main", &baseline, [old.onnx().as_ref()])
        .expect("the baseline is written");
    guard.baseline = Some(&baseline);
    (1..=count)
        .map(|number| {
            let clock = Instant::now();
            let turn = guard
                .turn(device, new, |_, _| {})
                .expect("the device measures");
            let judged = Judged {
                outcome: turn.compared.verdict.word(),
                change: turn.compared.change,
                ratios: ratios(&turn.measurements),
                seconds: clock.elapsed().as_secs_f64(),
            };
            println!(
                "{number}: {}, {}, {:.1} s",
                judged.outcome,
                judged.change.as_ref().map_or("-".into(), words),
                judged.seconds
            );
            judged
        })
        .collect()
}

/// Returns the ratio of new to old in each process; the two alternate in order.
fn ratios(measurements: &[Measurement]) -> Vec<f64> {
    let processes = measurements.chunks(2).enumerate();
    processes
        .filter_map(|(i, pair)| {
            let ratio = pair[0].ratio?.interval.value;
            Some(if i % 2 == 0 { ratio } else { 1.0 / ratio })
        })
        .collect()
}

fn words(change: &Change) -> String {
    let Interval { value, low, high } = change.estimate;
    let [estimate, low, high] = [value, low, high].map(|x| x * 100.0);
    format!(
        "{estimate:+.2} % ({low:+.2} to {high:+.2}), {} processes",
        change.processes
    )
}

fn report(what: &str, truth: &[f64], all: &[Judged]) {
    let count = |outcome: Verdict| all.iter().filter(|j| j.outcome == outcome.word()).count();
    let mean = |of: &dyn Fn(&Judged) -> Option<f64>| {
        let values: Vec<f64> = all.iter().filter_map(of).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let estimate = mean(&|j| Some(j.change?.estimate.value));
    let spread = mean(&|j| Some((j.change?.estimate.value - estimate).powi(2))).sqrt();
    println!(
        "\n| comparison | truth | comparisons | slower | fine | faster | too noisy | not measured | mean change | its spread | processes | time |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    println!(
        "| {what} | {} | {} | {} | {} | {} | {} | {} | {:+.2} % | {:.2} % | {:.1} | {:.1} s |",
        change(truth)
            .as_ref()
            .map_or("0 by construction".into(), words),
        all.len(),
        count(Verdict::Regressed),
        count(Verdict::Fine),
        count(Verdict::Improved),
        count(Verdict::Undecided),
        count(Verdict::Unmeasured) + count(Verdict::NoBaseline),
        estimate * 100.0,
        spread * 100.0,
        mean(&|j| Some(j.change?.processes as f64)),
        mean(&|j| Some(j.seconds)),
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (mut named, mut count) = (Vec::new(), COUNT);
    while let Some(argument) = arguments.next() {
        if argument == "--count" {
            let number = arguments.next().and_then(|n| n.parse().ok());
            count = number.expect("--count takes a number");
        } else if !argument.starts_with('-') {
            named.push(argument);
        }
    }
    let selected = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let profile = Profile::local().expect("the profile is built in");
    let agent = AgentDevice::start(Local::default(), &profile.name, Patience::default())
        .expect("the agent starts");
    let mut device = Device {
        name: profile.name.clone(),
        profile,
        source: Box::new(agent),
    };
    let wide = Wide::new();
    let original = wide.model(&wide.published());
    let mut raw = Vec::new();
    if selected("self") {
        let all = compare(&mut device, &original, &original, count);
        report("with itself", &[], &all);
        raw.push(serde_json::json!({ "what": "self", "comparisons": all }));
    }
    if selected("slower") {
        let new = slower(&mut device, &wide, &original);
        let mut series = truth(&mut device, &new, &original);
        let all = compare(&mut device, &original, &new, count);
        series.extend(truth(&mut device, &new, &original));
        report("with a slower network", &series, &all);
        raw.push(serde_json::json!({ "what": "slower", "truth": series, "comparisons": all }));
    }
    if let Some(path) = std::env::var_os("GUARD_JSON") {
        let text = serde_json::to_string(&raw).expect("plain data");
        std::fs::write(path, text).expect("the file is written");
    }
}
