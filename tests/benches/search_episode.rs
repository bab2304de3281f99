//! The host's time for one search episode of ResNet-20, in total and in parts: `ask` of DDPG
//! (one embedding of the Graph PruningNet per group), generating the weights and evaluating them
//! with re-estimated BatchNorm on 1000 images, cutting and exporting the candidate, and `tell`
//! with the networks' updates. The device's time to measure comes on top.

use channels::{Analysis, PrunePlan, importance_order, prune};
use criterion::{Criterion, criterion_group, criterion_main};
use datasets::{DataSpec, InputSpec};
use onnx_graph::{Graph, deploy};
use search::{
    Cost, CostKind, Ddpg, DdpgConfig, Environment, Judge, Limits, RewardConfig, SearchError, Space,
    Strategy, WidthGrid, Widths,
};
use train::{Evaluator, EvaluatorConfig, Prunable, PruningNet, PruningNetConfig, Runtime};

struct Bench {
    graph: Graph,
    analysis: Analysis,
    order: Vec<Vec<usize>>,
    space: Space,
    net: PruningNet,
    evaluator: Evaluator,
}

impl Bench {
    fn new() -> Self {
        let graph = model_zoo::build("resnet20", &model_zoo::ZooConfig::default())
            .expect("the zoo's network builds");
        let analysis = channels::analyse(&graph).expect("the zoo's network is sound");
        let order = importance_order(&graph, &analysis);
        let grid = WidthGrid::default();
        let groups = analysis
            .groups()
            .iter()
            .map(|g| grid.group(&g.name, g.channels))
            .collect();
        let net = PruningNet::new(
            &graph,
            &analysis,
            &PruningNetConfig::default(),
            Runtime::default().device,
            1,
        )
        .expect("the network has weights");
        let spec: DataSpec = "shapes:train=4000,test=10"
            .parse()
            .expect("a good specification");
        let input = InputSpec::preset("half", [3, 32, 32]).expect("a known preset");
        let splits = datasets::open(&spec, &input).expect("shapes are rendered");
        let config = EvaluatorConfig {
            search_images: 1000,
            ..EvaluatorConfig::default()
        };
        let data = (splits.train.as_ref(), splits.train.as_ref());
        let prunable = Prunable {
            graph: &graph,
            analysis: &analysis,
            order: &order,
        };
        let evaluator =
            Evaluator::new(prunable, data, &config, Runtime::default()).expect("the data fits");
        Self {
            graph,
            analysis,
            order,
            space: Space::new(groups).expect("there are groups"),
            net,
            evaluator,
        }
    }

    fn cut(&self, config: &Widths) -> Graph {
        let plan =
            PrunePlan::from_widths(&self.analysis, &self.order, &config.0).expect("the widths fit");
        prune(&self.graph, &self.analysis, &plan).expect("the plan fits")
    }

    fn export(&self, config: &Widths) -> Vec<u8> {
        deploy(&self.cut(config), None)
            .expect("it can be deployed")
            .bytes
    }
}

impl Environment for &Bench {
    fn space(&self) -> &Space {
        &self.space
    }

    fn embeddings(&mut self, partial: &Widths) -> Result<Vec<Vec<f32>>, SearchError> {
        self.net
            .group_embeddings(&partial.0)
            .map_err(|e| SearchError::Outside(Box::new(e)))
    }

    fn cost(&self, config: &Widths) -> f64 {
        let full: usize = self.space.full().0.iter().sum();
        config.0.iter().sum::<usize>() as f64 / full as f64 / 0.7
    }

    fn budget(&self) -> f64 {
        1.0
    }
}

fn episode(c: &mut Criterion) {
    let bench = Bench::new();
    let mut environment = &bench;
    let limits = Limits {
        latency_ratio: None,
        // The environment's costs are in units of the budget.
        macs: Some(1e9),
    };
    let judge = Judge::new(
        RewardConfig {
            cost: CostKind::Macs,
            ..RewardConfig::default()
        },
        limits,
    )
    .expect("sound");
    let mut ddpg = Ddpg::new(DdpgConfig {
        seed: 1,
        ..DdpgConfig::for_episodes(1000)
    })
    .expect("sound");
    let tell = |ddpg: &mut Ddpg, config: &Widths, accuracy: f64| {
        let outcome = judge
            .judge(
                accuracy,
                Cost {
                    memory: 0.0,
                    macs: ((&bench).cost(config) * 1e9) as u64,
                    latency: None,
                },
            )
            .expect("finite");
        ddpg.tell(config, &outcome).expect("finite");
    };
    // After the warm-up episodes, when the actor is used and trained.
    for i in 0..60 {
        let config = ddpg
            .ask(&mut environment)
            .expect("there are configurations");
        tell(&mut ddpg, &config, f64::from(i) / 100.0);
    }
    let candidate = ddpg
        .ask(&mut environment)
        .expect("there are configurations");

    let mut group = c.benchmark_group("search_episode");
    group.sample_size(10);
    group.bench_function("evaluate", |b| {
        b.iter(|| {
            bench
                .evaluator
                .accuracy(&bench.net, &candidate.0)
                .expect("fits")
        })
    });
    group.bench_function("export", |b| b.iter(|| bench.export(&candidate)));
    group.bench_function("whole", |b| {
        b.iter(|| {
            let config = ddpg
                .ask(&mut environment)
                .expect("there are configurations");
            let accuracy = bench
                .evaluator
                .accuracy(&bench.net, &config.0)
                .expect("fits")
                .share();
            let bytes = bench.export(&config);
            tell(&mut ddpg, &config, accuracy);
            bytes.len()
        });
    });
    group.bench_function("ask_and_tell", |b| {
        b.iter(|| {
            let config = ddpg
                .ask(&mut environment)
                .expect("there are configurations");
            tell(&mut ddpg, &config, 0.5);
        });
    });
    group.finish();
}

criterion_group!(benches, episode);
criterion_main!(benches);
