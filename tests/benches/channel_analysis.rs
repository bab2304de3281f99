//! Finding ResNet-50's channel groups, and what a plan costs: ranking by importance, cutting, building the pruned graph.

use std::hint::black_box;

use channels::{PrunePlan, analyse, apply, cut, importance_order};
use criterion::{Criterion, criterion_group, criterion_main};
use model_zoo::ZooConfig;

fn bench(criterion: &mut Criterion) {
    let graph =
        model_zoo::build("resnet50", &ZooConfig::imagenet()).expect("the zoo's network builds");
    let analysis = analyse(&graph).expect("the zoo's network is sound");
    let order = importance_order(&graph, &analysis);
    let widths: Vec<usize> = analysis
        .groups()
        .iter()
        .map(|g| g.channels.div_ceil(2))
        .collect();
    let plan = PrunePlan::from_widths(&analysis, &order, &widths).expect("half of each group fits");
    let half = cut(&graph, &analysis, &plan).expect("the plan fits");
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
}

criterion_group!(benches, bench);
criterion_main!(benches);
