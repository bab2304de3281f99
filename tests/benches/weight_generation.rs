//! Times of generating all weights of a pruned network with the Graph PruningNet: without
//! gradients, as in a search, and with the backward pass through the generators, as in joint
//! training. 2 threads, half of every group's channels.

use channels::{PrunePlan, analyse, cut, importance_order};
use criterion::{Criterion, criterion_group, criterion_main};
use model_zoo::ZooConfig;
use torch_exec::{Kind, Tensor, no_grad, set_threads};
use train::{PruningNet, PruningNetConfig, Runtime};

fn bench(criterion: &mut Criterion) {
    set_threads(2);
    let mut group = criterion.benchmark_group("weight_generation");
    group.sample_size(20);
    for (name, config) in [
        ("resnet20", ZooConfig::default()),
        ("mobilenet_v2", ZooConfig::default()),
        ("resnet50", ZooConfig::imagenet()),
    ] {
        let graph = model_zoo::build(name, &config).expect("the zoo's network builds");
        let analysis = analyse(&graph).expect("the zoo's network is sound");
        let order = importance_order(&graph, &analysis);
        let widths: Vec<usize> = analysis
            .groups()
            .iter()
            .map(|g| g.channels.div_ceil(2))
            .collect();
        let plan =
            PrunePlan::from_widths(&analysis, &order, &widths).expect("half of each group fits");
        let half = cut(&graph, &analysis, &plan).expect("the plan fits");
        let net = PruningNet::new(
            &graph,
            &analysis,
            &PruningNetConfig::default(),
            Runtime::default().device,
            1,
        )
        .expect("the network has weights");
        group.bench_function(format!("{name}/forward"), |b| {
            b.iter(|| no_grad(|| net.bind(&widths, Some(&half)).expect("the widths fit")));
        });
        group.bench_function(format!("{name}/forward_backward"), |b| {
            b.iter(|| {
                let bound = net.bind(&widths, Some(&half)).expect("the widths fit");
                let sums: Vec<Tensor> = bound
                    .generated()
                    .values()
                    .map(|w| w.sum(Kind::Float))
                    .collect();
                Tensor::stack(&sums, 0).sum(Kind::Float).backward();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
