//! How well latency is predicted on this machine: MACs, the sum of kernels measured alone, and models that learn from whole
//! networks, on configurations that none of them has seen.
//!
//! `cargo bench --bench latency_model [-- NETWORK...]`; the networks are ResNet-20, ResNet-56 and MobileNetV2 unless named. For each
//! the kernels are probed once, then 100 random configurations are measured to learn from and 60 to judge by, interleaved with
//! the unpruned network. `LATENCY_MODEL_JSON` names a file for the raw figures.

use std::time::Instant;

use channels::{Analysis, GroupId, PrunePlan, analyse, apply, cut, importance_order};
use latency::{
    AgentDevice, LatencySource, Local, MeasureRequest, Model, Patience, Profile, Sampling,
};
use latency_model::{CostTable, LatencyModel, LatencyModelConfig, LayerTimes, ProbePlan, spearman};
use model_zoo::ZooConfig;
use onnx_graph::{Graph, fold_batch_norm};
use pipeline::{ProbeConfig, probe_kernels};
use search::{SeededRng, WidthGrid};
use serde::Serialize;

const NETWORKS: [&str; 3] = ["resnet20", "resnet56", "mobilenet_v2"];
const LEARN: usize = 100;
const JUDGE: usize = 60;
const BATCH: usize = 10;

struct Network {
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    widths: Vec<Vec<usize>>,
    table: CostTable,
}

impl Network {
    fn new(name: &str) -> Self {
        let graph = model_zoo::build(name, &ZooConfig::default()).expect("a network of the zoo");
        let analysis = analyse(&graph).expect("the network is sound");
        let grid = WidthGrid::default();
        let widths = analysis.groups().iter().enumerate().map(|(i, group)| {
            let group = match analysis.removal(GroupId(i)) {
                Some(_) => grid.removable_group(&group.name, group.channels),
                None => grid.group(&group.name, group.channels),
            };
            group.widths
        });
        Self {
            widths: widths.collect(),
            order: importance_order(&graph, &analysis),
            table: CostTable::new(&graph, &analysis),
            analysis,
            graph,
        }
    }

    fn full(&self) -> Vec<usize> {
        let full = self.widths.iter().filter_map(|widths| widths.last());
        full.copied().collect()
    }

    fn model(&self, name: String, widths: &[usize]) -> Model {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths).expect("it fits");
        let cut = cut(&self.graph, &self.analysis, &plan).expect("it fits");
        let pruned = apply(&self.graph, &cut).expect("it applies");
        let mut deployed = fold_batch_norm(&pruned).expect("it folds");
        deployed.remove_dead();
        Model::new(name, onnx_graph::write(&deployed).expect("it is written"))
    }

    /// Widths that lie around a common share of their range, as the search's calibration draws them.
    fn draw(&self, rng: &mut SeededRng) -> Vec<usize> {
        let common = 0.3 * rng.unit();
        let width = |widths: &Vec<usize>| {
            let place = common + 0.7 * rng.unit();
            widths[(place * (widths.len() - 1) as f64).round() as usize]
        };
        self.widths.iter().map(width).collect()
    }
}

#[derive(Serialize)]
struct Measured {
    widths: Vec<usize>,
    ratio: f64,
    interval: (f64, f64),
}

fn measure(
    device: &mut AgentDevice,
    profile: &Profile,
    network: &Network,
    count: usize,
) -> Vec<Measured> {
    let mut rng = SeededRng::new(1, count as u64);
    let reference = network.model("original".into(), &network.full());
    let configs: Vec<Vec<usize>> = (0..count).map(|_| network.draw(&mut rng)).collect();
    let mut found = Vec::new();
    for batch in configs.chunks(BATCH) {
        let request = MeasureRequest {
            models: batch
                .iter()
                .enumerate()
                .map(|(i, widths)| network.model(format!("configuration {i}"), widths))
                .collect(),
            reference: Some(reference.clone()),
            sampling: Sampling {
                block_ns: 3_000_000,
                min_rounds: 24,
                max_duration_ns: 12_000_000_000,
                ci_target_rel: 0.01,
                ..profile.sampling.clone()
            },
            ..MeasureRequest::default()
        };
        let all = device.measure(&request).expect("the device measures");
        for (widths, m) in batch.iter().zip(all) {
            if let (true, Some(ratio)) = (m.is_valid(), m.ratio) {
                found.push(Measured {
                    widths: widths.clone(),
                    ratio: ratio.median,
                    interval: (ratio.low, ratio.high),
                });
            }
        }
    }
    found
}

/// Mean relative error, Spearman's rank correlation, and the share of truths within the interval where one is told.
struct Score {
    error: f64,
    rank: f64,
    held: Option<f64>,
}

fn score(judged: &[Measured], predict: impl Fn(&[usize]) -> (f64, Option<(f64, f64)>)) -> Score {
    let predicted: Vec<_> = judged.iter().map(|m| predict(&m.widths)).collect();
    let truths: Vec<f64> = judged.iter().map(|m| m.ratio).collect();
    let values: Vec<f64> = predicted.iter().map(|p| p.0).collect();
    let count = truths.len() as f64;
    let errors = values.iter().zip(&truths).map(|(p, t)| (p - t).abs() / t);
    let held: Option<Vec<bool>> = predicted
        .iter()
        .zip(&truths)
        .map(|((_, interval), t)| interval.map(|(low, high)| (low..=high).contains(t)))
        .collect();
    Score {
        error: errors.sum::<f64>() / count,
        rank: spearman(&values, &truths),
        held: held.map(|held| held.iter().filter(|&&h| h).count() as f64 / count),
    }
}

fn report(name: &str, what: &str, learned: usize, score: &Score) {
    let held = score
        .held
        .map_or("-".into(), |held| format!("{:.0} %", held * 100.0));
    println!(
        "| {name} | {what} | {learned} | {:.2} % | {:.4} | {held} |",
        score.error * 100.0,
        score.rank
    );
}

/// A line through the samples by least squares: what one figure a network tells at best.
fn line(
    samples: &[Measured],
    of: impl Fn(&[usize]) -> f64,
) -> impl Fn(&[usize]) -> (f64, Option<(f64, f64)>) {
    let count = samples.len() as f64;
    let x: Vec<f64> = samples.iter().map(|m| of(&m.widths)).collect();
    let mean_x = x.iter().sum::<f64>() / count;
    let mean_y = samples.iter().map(|m| m.ratio).sum::<f64>() / count;
    let product: f64 = x
        .iter()
        .zip(samples)
        .map(|(x, m)| (x - mean_x) * (m.ratio - mean_y))
        .sum();
    let slope = product / x.iter().map(|x| (x - mean_x).powi(2)).sum::<f64>();
    move |widths: &[usize]| (mean_y + slope * (of(widths) - mean_x), None)
}

fn judge(
    name: &str,
    network: &Network,
    times: &LayerTimes,
    learn: &[Measured],
    judged: &[Measured],
) {
    let table = &network.table;
    let full_macs = table.macs(&network.full());
    let macs = |widths: &[usize]| table.macs(widths) / full_macs;
    let kernels = |widths: &[usize]| table.kernel_ratio(times, widths);
    report(name, "MACs", 0, &score(judged, |w| (macs(w), None)));
    report(
        name,
        "sum of kernels",
        0,
        &score(judged, |w| (kernels(w), None)),
    );
    report(
        name,
        "MACs, a line",
        learn.len(),
        &score(judged, line(learn, macs)),
    );
    report(
        name,
        "sum of kernels, a line",
        learn.len(),
        &score(judged, line(learn, kernels)),
    );
    type Features<'a> = &'a dyn Fn(&[usize]) -> Vec<f64>;
    let kinds: [(&str, Features<'_>); 2] = [
        ("learned, rounded MACs", &|w| table.features(w)),
        ("learned, rounded MACs and kernels", &|w| {
            table.features_with(times, w)
        }),
    ];
    for (what, features) in kinds {
        for count in [20, 40, learn.len()] {
            let mut model =
                LatencyModel::new(LatencyModelConfig::default(), full_macs.round() as u64)
                    .expect("the settings are the default");
            for m in &learn[..count.min(learn.len())] {
                let macs = table.macs(&m.widths).round() as u64;
                model
                    .observe(&features(&m.widths), macs, m.ratio)
                    .expect("a sound sample");
            }
            let told = score(judged, |widths| {
                let macs = table.macs(widths).round() as u64;
                let features = features(widths);
                let interval = model.predict_interval(&features, macs);
                (
                    model.predict(&features, macs),
                    interval.map(|p| (p.low, p.high)),
                )
            });
            report(name, what, count.min(learn.len()), &told);
        }
    }
}

fn main() {
    let named: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with('-'))
        .collect();
    let names = if named.is_empty() {
        NETWORKS.map(String::from).to_vec()
    } else {
        named
    };
    let profile = Profile::local().expect("the profile is built in");
    let mut device = AgentDevice::start(Local::default(), &profile.name, Patience::default())
        .expect("the agent starts");
    let mut raw = Vec::new();
    for name in &names {
        let network = Network::new(name);
        let clock = Instant::now();
        let plan = ProbePlan::new(&network.table, &network.widths);
        let kernels = probe_kernels(
            &mut device,
            &profile,
            &plan,
            &ProbeConfig::default(),
            |_| true,
        )
        .expect("kernels are measured");
        let times = network.table.layer_times(&kernels);
        let probed = clock.elapsed().as_secs_f64();
        let clock = Instant::now();
        let learn = measure(&mut device, &profile, &network, LEARN);
        let judged = measure(&mut device, &profile, &network, JUDGE);
        println!(
            "\n{name}: {} kernels probed in {probed:.0} s ({} valid), {} and {} configurations in {:.0} s\n",
            plan.points().len(),
            kernels.times().len(),
            learn.len(),
            judged.len(),
            clock.elapsed().as_secs_f64()
        );
        println!(
            "| network | predictor | measured networks | mean error | rank correlation | truths in the interval |"
        );
        println!("|---|---|---|---|---|---|");
        judge(name, &network, &times, &learn, &judged);
        raw.push(serde_json::json!({ "network": name, "kernels": kernels, "learn": learn, "judged": judged }));
    }
    if let Some(path) = std::env::var_os("LATENCY_MODEL_JSON") {
        let text = serde_json::to_string(&raw).expect("plain data");
        std::fs::write(path, text).expect("the file is written");
    }
}
