//! The accuracy of latency predictions on this machine: MACs, the sum of kernels measured alone,
//! and models trained on whole networks, for configurations that none of them was trained on.
//!
//! `cargo bench -p graphprune-tests --bench latency_model [-- NETWORK...]`; by default
//! ResNet-20, ResNet-56 and MobileNetV2. For each the kernels are measured once, then 100 random
//! configurations for training and 60 for testing, each interleaved with the unpruned network in
//! a process of its own. Training and test configurations alternate, because drift of the
//! machine over minutes is no property of a predictor. `LATENCY_MODEL_JSON` names a file for the
//! raw figures; `LATENCY_MODEL_REPLAY` names one to evaluate again instead of measuring.
//! `LATENCY_MODEL_DONOR` names one of another device of the kind, whose kernels are evaluated
//! as the start of this device's predictions.

use std::time::Instant;

use channels::{Analysis, PrunePlan, analyse, importance_order, prune};
use latency::{AgentDevice, LatencySource, Local, MeasureRequest, Model, Patience, Profile};
use latency_model::{CostTable, KernelTable, LatencyModelConfig, Predictor, ProbePlan, spearman};
use measuring::{ProbeConfig, probe_kernels};
use model_zoo::ZooConfig;
use onnx_graph::{Graph, deploy};
use pipeline::width_space;
use search::{SeededRng, Space, WidthGrid};
use serde::{Deserialize, Serialize};

const NETWORKS: [&str; 3] = ["resnet20", "resnet56", "mobilenet_v2"];
const MEASURED: usize = 160;
/// Processes whose median is the true ratio of a test configuration. A training configuration is
/// measured in one, as in a search.
const TRUTH: usize = 3;
/// Training configurations of eight in a row.
const LEARNED_OF_EIGHT: usize = 5;

struct Network {
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    space: Space,
    table: CostTable,
}

impl Network {
    fn new(name: &str) -> Self {
        let graph = model_zoo::build(name, &ZooConfig::default()).expect("a network of the zoo");
        let analysis = analyse(&graph).expect("the network is sound");
        let space = width_space(&analysis, &WidthGrid::default()).expect("it has groups");
        Self {
            space,
            order: importance_order(&graph, &analysis),
            table: CostTable::new(&graph, &analysis),
            analysis,
            graph,
        }
    }

    fn model(&self, name: String, widths: &[usize]) -> Model {
        let plan = PrunePlan::from_widths(&self.analysis, &self.order, widths).expect("it fits");
        let pruned = prune(&self.graph, &self.analysis, &plan).expect("it fits");
        Model::new(name, deploy(&pruned, None).expect("it is written").bytes)
    }
}

/// The measurements of one network.
#[derive(Serialize, Deserialize)]
struct Figures {
    network: String,
    kernels: KernelTable,
    learn: Vec<Measured>,
    judged: Vec<Measured>,
}

#[derive(Serialize, Deserialize)]
struct Measured {
    widths: Vec<usize>,
    ratio: f64,
}

fn measure(
    device: &mut AgentDevice,
    profile: &Profile,
    network: &Network,
) -> (Vec<Measured>, Vec<Measured>) {
    let mut rng = SeededRng::new(1, 100);
    let reference = network.model("original".into(), &network.space.full().0);
    let mut process = |name: String, widths: &[usize]| {
        // In a process of its own, as in a search: the memory layout of a process shifts all its
        // ratios.
        let request = MeasureRequest {
            models: vec![network.model(name, widths)],
            reference: Some(reference.clone()),
            sampling: profile.sampling.clone(),
            ..MeasureRequest::default()
        };
        let all = device.measure(&request).expect("the device measures");
        all.first()
            .filter(|m| m.is_valid())?
            .ratio
            .map(|r| r.interval.value)
    };
    let (mut learn, mut judged) = (Vec::new(), Vec::new());
    for i in 0..MEASURED {
        let widths = network.space.spread(&mut rng).0;
        let learned = i % 8 < LEARNED_OF_EIGHT;
        let times = if learned { 1 } else { TRUTH };
        let ratios: Vec<f64> = (0..times)
            .filter_map(|_| process(format!("configuration {i}"), &widths))
            .collect();
        let side = if learned { &mut learn } else { &mut judged };
        if let Some(ratio) = latency::stats::median(&ratios) {
            side.push(Measured { widths, ratio });
        }
    }
    (learn, judged)
}

/// Mean relative error, Spearman's rank correlation, and the share of true ratios within the
/// interval, where there is one.
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

/// A line through the samples by least squares: the best prediction from one figure of a
/// network.
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

fn judge(name: &str, network: &Network, figures: &Figures, donor: Option<&KernelTable>) {
    let table = &network.table;
    let times = &table.layer_times(&figures.kernels);
    let donor = donor.map(|kernels| table.layer_times(kernels));
    let (learn, judged) = (&figures.learn, &figures.judged);
    let full_macs = table.macs(&network.space.full().0);
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
    let of_another = donor
        .as_ref()
        .map(|times| ("learned from another's kernels", Some(times)));
    let begun = [
        ("learned from MACs", None),
        ("learned from kernels", Some(times)),
    ];
    for (what, times) in begun.into_iter().chain(of_another) {
        for count in [20, 40, learn.len()] {
            let count = count.min(learn.len());
            let mut predictor = Predictor::new(table, times, LatencyModelConfig::default())
                .expect("the settings are the default");
            let samples = learn[..count].iter().map(|m| (&m.widths[..], m.ratio));
            predictor.learn(samples).expect("sound samples");
            let learnt = score(judged, |widths| {
                let interval = predictor.interval(widths);
                (predictor.ratio(widths), interval.map(|p| (p.low, p.high)))
            });
            report(name, what, count, &learnt);
        }
    }
}

fn heading(figures: &Figures, how: &str) {
    println!(
        "\n{}: {} kernels{how}, {} and {} configurations\n",
        figures.network,
        figures.kernels.times().len(),
        figures.learn.len(),
        figures.judged.len(),
    );
    println!(
        "| network | predictor | measured networks | mean error | rank correlation | truths in the interval |"
    );
    println!("|---|---|---|---|---|---|");
}

/// Reads raw figures from the file that a variable names.
fn stored(variable: &str) -> Option<Vec<Figures>> {
    let text = std::fs::read_to_string(std::env::var_os(variable)?).expect("the file can be read");
    Some(serde_json::from_str(&text).expect("figures of this benchmark"))
}

fn main() {
    let others = stored("LATENCY_MODEL_DONOR").unwrap_or_default();
    let donor = |network: &str| {
        let other = others.iter().find(|figures| figures.network == network);
        other.map(|figures| &figures.kernels)
    };
    if let Some(all) = stored("LATENCY_MODEL_REPLAY") {
        for figures in all {
            heading(&figures, "");
            let (name, donor) = (&figures.network, donor(&figures.network));
            judge(name, &Network::new(name), &figures, donor);
        }
        return;
    }
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
        let groups = network.space.groups.iter();
        let widths: Vec<Vec<usize>> = groups.map(|g| g.widths.clone()).collect();
        let plan = ProbePlan::new(&network.table, &widths);
        let kernels = probe_kernels(
            &mut device,
            &profile,
            &plan,
            &ProbeConfig::default(),
            |_| true,
        )
        .expect("kernels are measured")
        .table;
        let probed = clock.elapsed().as_secs_f64();
        let (learn, judged) = measure(&mut device, &profile, &network);
        let figures = Figures {
            network: name.clone(),
            kernels,
            learn,
            judged,
        };
        heading(&figures, &format!(" probed in {probed:.0} s"));
        judge(name, &network, &figures, donor(name));
        raw.push(figures);
    }
    if let Some(path) = std::env::var_os("LATENCY_MODEL_JSON") {
        let text = serde_json::to_string(&raw).expect("plain data");
        std::fs::write(path, text).expect("the file is written");
    }
}
