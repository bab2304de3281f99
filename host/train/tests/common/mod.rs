//! A small residual network and a small data set that it can learn.
#![allow(dead_code, reason = "each test file uses a part")]

use std::rc::Rc;
use std::sync::Arc;

use channels::{Analysis, analyse, importance_order};
use collective::{Place, Team};
use datasets::{
    ArrayDataset, Augment, DataError, Dataset, InputSpec, Loader, LoaderConfig, Normalise,
};
use graphprune_boards::free_port;
use onnx_graph::ops::{self, Op};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use train::{
    Classification, FinetuneConfig, JointConfig, JointSetup, JointState, Prunable, PruningNet,
    PruningNetConfig, Runtime, SgdConfig, Silent, TrainJob, train_plain,
};

pub const CLASSES: usize = 3;

struct Builder {
    graph: Graph,
    rng: ChaCha8Rng,
}

impl Builder {
    fn random(&mut self, name: &str, dims: &[usize], around: f32, spread: f32) -> ValueId {
        let count = dims.iter().product();
        let values = (0..count)
            .map(|_| around + (self.rng.random::<f32>() - 0.5) * spread)
            .collect();
        self.graph
            .add_constant(name, Tensor::f32(dims.to_vec(), values).unwrap())
    }

    fn conv(&mut self, name: &str, x: ValueId, from: usize, to: usize, stride: usize) -> ValueId {
        let w = self.random(
            &format!("{name}.w"),
            &[to, from, 3, 3],
            0.0,
            1.2 / (from as f32).sqrt(),
        );
        let op = Op::Conv(ops::Conv {
            kernel: vec![3, 3],
            strides: vec![stride, stride],
            pads: vec![1; 4],
            dilations: vec![1, 1],
            group: 1,
        });
        let y = self.graph.push(name, op, &[x, w]).unwrap();
        let parts = [("scale", 1.0), ("bias", 0.0), ("mean", 0.1), ("var", 1.0)];
        let mut inputs = vec![y];
        inputs.extend(parts.map(|(p, v)| self.random(&format!("{name}.bn.{p}"), &[to], v, 0.2)));
        let op = Op::BatchNormalization(ops::BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
        });
        self.graph.push(&format!("{name}.bn"), op, &inputs).unwrap()
    }
}

/// Builds stem - relu - conv a - relu - conv b - add(stem) - relu - pool - dense.
pub fn network(seed: u64) -> Graph {
    let mut b = Builder {
        graph: Graph::new("tiny", 17),
        rng: ChaCha8Rng::seed_from_u64(seed),
    };
    let shape = vec![
        Dim::Symbol("N".into()),
        Dim::Known(3),
        Dim::Known(8),
        Dim::Known(8),
    ];
    let x = b.graph.add_input("x", DType::F32, shape);
    let stem = b.conv("stem", x, 3, 8, 1);
    let stem = b
        .graph
        .push("stem.relu", Op::Relu(ops::Relu), &[stem])
        .unwrap();
    let y = b.conv("a", stem, 8, 12, 1);
    let y = b.graph.push("a.relu", Op::Relu(ops::Relu), &[y]).unwrap();
    let y = b.conv("b", y, 12, 8, 1);
    let y = b.graph.push("sum", Op::Add(ops::Add), &[y, stem]).unwrap();
    let y = b.graph.push("sum.relu", Op::Relu(ops::Relu), &[y]).unwrap();
    let y = b
        .graph
        .push("pool", Op::GlobalAveragePool(ops::GlobalAveragePool), &[y])
        .unwrap();
    let y = b
        .graph
        .push("flat", Op::Flatten(ops::Flatten { axis: 1 }), &[y])
        .unwrap();
    let w = b.random("dense.w", &[CLASSES, 8], 0.0, 0.6);
    let c = b.random("dense.b", &[CLASSES], 0.0, 0.1);
    let op = Op::Gemm(ops::Gemm {
        alpha: 1.0,
        beta: 1.0,
        trans_a: false,
        trans_b: true,
    });
    let y = b.graph.push("dense", op, &[y, w, c]).unwrap();
    b.graph.add_output(y);
    b.graph.check().unwrap();
    b.graph
}

/// Returns noisy images whose class is the brightest channel.
pub fn data(images: usize, seed: u64) -> Arc<dyn Dataset> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for i in 0..images {
        let class = i % CLASSES;
        labels.push(class as u16);
        for channel in 0..3 {
            let base = if channel == class { 110 } else { 70 };
            pixels.extend((0..64).map(|_| base + rng.random_range(0..80u8)));
        }
    }
    let input = InputSpec {
        channels: 3,
        height: 8,
        width: 8,
        normalise: Normalise {
            mean: vec![0.5; 3],
            std: vec![0.25; 3],
            ..Normalise::default()
        },
        ..InputSpec::default()
    };
    let classes = (0..CLASSES).map(|c| format!("class {c}")).collect();
    Arc::new(ArrayDataset::new("bright", pixels, labels, classes, &input).unwrap())
}

pub fn loader(images: usize, batch: usize) -> Loader {
    let augment = Augment {
        flip: true,
        ..Augment::none()
    };
    let config = LoaderConfig {
        batch,
        augment,
        seed: 3,
        drop_last: true,
        ..LoaderConfig::default()
    };
    Loader::new(data(images, 1), config).unwrap()
}

/// The network with everything that its pruning depends on.
pub struct Subject {
    pub graph: Graph,
    pub analysis: Analysis,
    pub order: Vec<Vec<usize>>,
    pub widths: Vec<Vec<usize>>,
    pub full: Vec<usize>,
}

pub fn subject() -> Subject {
    let graph = network(5);
    let analysis = analyse(&graph).unwrap();
    let order = importance_order(&graph, &analysis);
    let full: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
    let widths = full
        .iter()
        .map(|&c| (1..=c).filter(|w| w % 2 == 0).collect())
        .collect::<Vec<Vec<usize>>>();
    // The residual branch is removable.
    let widths = vec![widths[0].clone(), [&[0], widths[1].as_slice()].concat()];
    Subject {
        graph,
        analysis,
        order,
        widths,
        full,
    }
}

pub fn joint_config(epochs: usize, lr: f64) -> JointConfig {
    JointConfig {
        epochs,
        sgd: SgdConfig {
            lr,
            warmup_epochs: 0.0,
            ..SgdConfig::default()
        },
        warm_lr: lr,
        ..JointConfig::default()
    }
}

impl Subject {
    pub fn prunable(&self) -> Prunable<'_> {
        Prunable {
            graph: &self.graph,
            analysis: &self.analysis,
            order: &self.order,
        }
    }

    /// A PruningNet of a warm start: at full width it generates the network's own weights.
    pub fn net(&self) -> PruningNet {
        let (config, device) = (PruningNetConfig::default(), Runtime::default().device);
        PruningNet::new(&self.graph, &self.analysis, &config, device, 1).unwrap()
    }

    pub fn joint(&self, net: &PruningNetConfig, config: &JointConfig, seed: u64) -> JointState {
        JointState::new(&JointSetup {
            prunable: self.prunable(),
            widths: &self.widths,
            net,
            config,
            runtime: Runtime::default(),
            seed,
        })
        .unwrap()
    }
}

/// The network, trained to classify.
pub fn trained() -> Graph {
    let config = FinetuneConfig {
        epochs: 6,
        sgd: SgdConfig {
            lr: 0.05,
            ..SgdConfig::default()
        },
        ..FinetuneConfig::default()
    };
    let (graph, loader) = (network(5), loader(192, 16));
    let (graph, _) = train_plain(&job(&graph, &loader, &config), &mut Silent).unwrap();
    graph
}

/// A training of a classifier by one process, without a checkpoint.
pub fn job<'a>(graph: &'a Graph, loader: &'a Loader, config: &'a FinetuneConfig) -> TrainJob<'a> {
    TrainJob {
        task: &Classification,
        graph,
        floats: None,
        loader,
        config,
        runtime: Runtime::default(),
        seed: 1,
        team: None,
        checkpoint: None,
        identity: None,
    }
}

/// Runs `body` as each of `size` ranks, and returns the results by rank.
pub fn together<T: Send>(size: usize, body: impl Fn(Rc<Team>) -> T + Sync) -> Vec<T> {
    let port = free_port().unwrap();
    std::thread::scope(|scope| {
        let body = &body;
        let ranks: Vec<_> = (0..size)
            .map(|rank| {
                let place = Place::on_loopback(rank, size, port);
                scope.spawn(move || body(Rc::new(Team::open(&place).unwrap())))
            })
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Images with one that cannot be used: it is not a number, or cannot be read.
pub struct Faulty {
    pub images: Arc<dyn Dataset>,
    pub at: usize,
    pub is_read: bool,
}

impl Dataset for Faulty {
    fn len(&self) -> usize {
        self.images.len()
    }
    fn classes(&self) -> &[String] {
        self.images.classes()
    }
    fn image_shape(&self) -> [usize; 3] {
        self.images.image_shape()
    }
    fn label(&self, index: usize) -> usize {
        self.images.label(index)
    }
    fn decode(&self, index: usize, out: &mut [f32]) -> Result<(), DataError> {
        if index == self.at && !self.is_read {
            return Err(DataError::Option {
                option: "image",
                reason: "is broken".into(),
            });
        }
        self.images.decode(index, out)?;
        if index == self.at {
            out.fill(f32::NAN);
        }
        Ok(())
    }
    fn input(&self) -> &InputSpec {
        self.images.input()
    }
    fn identity(&self) -> String {
        self.images.identity()
    }
}
