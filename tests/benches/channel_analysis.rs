//! Times of finding ResNet-50's channel groups and of a plan: ranking by importance, cutting,
//! building the pruned graph.
//!
//! Where `cargo xtask zoo` has exported torchvision's networks, Torch-Pruning does the same to
//! them in the same run: its dependency graph beside our channel analysis, its pruner with one
//! step beside analysis, ranking and pruning, each dropping half of the channels. Reading files
//! and building networks is not timed.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use channels::{Analysis, PrunePlan, analyse, apply, cut, importance_order};
use criterion::Criterion;
use graphprune_tests::Peer;
use model_zoo::ZooConfig;
use onnx_graph::{Graph, NoExternalData, read};

const NETWORKS: [&str; 5] = [
    "resnet50",
    "mobilenet_v2",
    "densenet121",
    "efficientnet_b0",
    "convnext_tiny",
];
/// Side of the images of the exported networks.
const SIDE: usize = 64;
const ROUNDS: usize = 7;

/// Returns the plan that keeps the more important half of every group.
fn half(graph: &Graph, analysis: &Analysis) -> PrunePlan {
    let order = importance_order(graph, analysis);
    let widths: Vec<usize> = analysis
        .groups()
        .iter()
        .map(|g| g.channels.div_ceil(2))
        .collect();
    PrunePlan::from_widths(analysis, &order, &widths).expect("half of each group fits")
}

fn pruned(graph: &Graph) -> Graph {
    let analysis = analyse(graph).expect("the network is sound");
    let half = cut(graph, &analysis, &half(graph, &analysis)).expect("the plan fits");
    apply(graph, &half).expect("the cut applies")
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// Median of three, so one pause of the machine does not count.
fn seconds(mut work: impl FnMut()) -> f64 {
    let times = (0..3).map(|_| {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    median(times.collect())
}

fn compare(folder: &Path) {
    let Some(mut peer) = Peer::start("torch_pruning_step.py") else {
        return println!("no interpreter with PyTorch in .deps/peers: the comparison is left out");
    };
    for name in NETWORKS {
        let Ok(bytes) = std::fs::read(folder.join(format!("{name}.onnx"))) else {
            println!(
                "{name} is not exported (`cargo xtask zoo {name}`): the comparison is left out"
            );
            continue;
        };
        let graph = read(&bytes, &NoExternalData).expect("the network is read");
        let (mut ours, mut theirs) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for _ in 0..ROUNDS {
            ours.0.push(seconds(|| drop(black_box(analyse(&graph)))));
            ours.1.push(seconds(|| drop(black_box(pruned(&graph)))));
            let answer = peer.ask(&format!("{name} {SIDE}"));
            let times: Vec<f64> = answer.split(' ').filter_map(|t| t.parse().ok()).collect();
            let [graph, step] = times[..] else {
                panic!("the peer answered '{answer}'; see its error output")
            };
            theirs.0.push(graph);
            theirs.1.push(step);
        }
        let [our_graph, our_step] = [ours.0, ours.1].map(median);
        let [their_graph, their_step] = [theirs.0, theirs.1].map(median);
        println!(
            "{name}: channel analysis {:.2} ms, Torch-Pruning's dependency graph {:.0} ms, {:.0} times; with pruning {:.1} \
             ms and {:.0} ms, {:.1} times (medians of {ROUNDS} rounds)",
            our_graph * 1e3,
            their_graph * 1e3,
            their_graph / our_graph,
            our_step * 1e3,
            their_step * 1e3,
            their_step / our_step,
        );
    }
}

/// Returns the folder of `cargo xtask zoo` in the checkout this program was built in.
fn exported() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    let folder = own.ancestors().nth(3)?.join("zoo-17");
    folder.is_dir().then_some(folder)
}

fn main() {
    let timed = std::env::args().all(|a| a != "--list" && a != "--test");
    match exported() {
        Some(folder) if timed => compare(&folder),
        _ => {}
    }
    let graph =
        model_zoo::build("resnet50", &ZooConfig::imagenet()).expect("the zoo's network builds");
    let analysis = analyse(&graph).expect("the zoo's network is sound");
    let plan = half(&graph, &analysis);
    let half = cut(&graph, &analysis, &plan).expect("the plan fits");
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("channel_analysis/resnet50");
    group.sample_size(20);
    group.bench_function("analyse", |b| b.iter(|| analyse(black_box(&graph))));
    group.bench_function("importance_order", |b| {
        b.iter(|| importance_order(black_box(&graph), &analysis))
    });
    group.bench_function("cut", |b| {
        b.iter(|| cut(black_box(&graph), &analysis, &plan))
    });
    group.bench_function("apply", |b| b.iter(|| apply(black_box(&graph), &half)));
    group.finish();
    criterion.final_summary();
}
