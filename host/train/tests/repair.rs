//! A repair recovers a network exactly where the channels that are left can express it.

mod common;

use channels::analyse;
use common::{CLASSES, data, subject};
use onnx_graph::ops::{
    Add, BatchNormalization, Conv, ConvTranspose, Flatten, Gemm, GlobalAveragePool, MatMul, Op,
    Opaque, Relu,
};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use train::{Prunable, RepairConfig, Repairer, Runtime, evaluate, read};

/// Channels of the pruned layer; the second half are copies of the first.
const CHANNELS: usize = 8;

/// A network under construction, with seeded random weights.
struct Net {
    graph: Graph,
    rng: ChaCha8Rng,
}

/// A convolution's attributes: kernel, stride, pads, dilation and groups.
struct Window {
    kernel: usize,
    stride: usize,
    pads: [usize; 4],
    dilation: usize,
    group: usize,
}

const PLAIN: Window = Window {
    kernel: 3,
    stride: 1,
    pads: [1; 4],
    dilation: 1,
    group: 1,
};

impl Net {
    fn values(&mut self, count: usize, around: f32, spread: f32) -> Vec<f32> {
        let mut value = || around + (self.rng.random::<f32>() - 0.5) * spread;
        (0..count).map(|_| value()).collect()
    }

    fn constant(&mut self, name: &str, dims: &[usize], values: Vec<f32>) -> ValueId {
        let tensor = Tensor::f32(dims.to_vec(), values).unwrap();
        self.graph.add_constant(name, tensor)
    }

    fn push(&mut self, name: &str, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push(name, op.into(), inputs).unwrap()
    }

    fn size(&self, value: ValueId) -> usize {
        self.graph.value(value).shape.as_ref().unwrap()[1]
            .known()
            .unwrap()
    }

    fn conv(&mut self, name: &str, x: ValueId, to: usize, window: &Window) -> ValueId {
        let dims = [
            to,
            self.size(x) / window.group,
            window.kernel,
            window.kernel,
        ];
        let values = self.values(dims.iter().product(), 0.0, 0.8);
        self.conv_with(name, x, (&dims, values), window)
    }

    fn conv_with(
        &mut self,
        name: &str,
        x: ValueId,
        (dims, values): (&[usize], Vec<f32>),
        window: &Window,
    ) -> ValueId {
        let weight = self.constant(&format!("{name}.w"), dims, values);
        let bias = self.values(dims[0], 0.1, 0.4);
        let bias = self.constant(&format!("{name}.b"), &dims[..1], bias);
        let op = Conv {
            kernel: vec![window.kernel; 2],
            strides: vec![window.stride; 2],
            pads: window.pads.to_vec(),
            dilations: vec![window.dilation; 2],
            group: window.group,
        };
        self.push(name, op, &[x, weight, bias])
    }

    fn norm(&mut self, name: &str, x: ValueId) -> ValueId {
        let count = self.size(x);
        let mut inputs = vec![x];
        for (part, around) in [("scale", 1.0), ("bias", 0.0), ("mean", 0.1), ("var", 1.0)] {
            let values = self.values(count, around, 0.4);
            inputs.push(self.constant(&format!("{name}.{part}"), &[count], values));
        }
        let op = BatchNormalization {
            epsilon: 1e-5,
            momentum: 0.9,
        };
        self.push(name, op, &inputs)
    }

    fn relu(&mut self, x: ValueId) -> ValueId {
        self.push("relu", Relu, &[x])
    }

    /// A convolution whose second half of channels are copies of the first, and a Relu.
    fn redundant(&mut self, x: ValueId) -> ValueId {
        let row = self.size(x) * 9;
        let half = self.values(CHANNELS / 2 * row, 0.0, 0.8);
        let values = [half.clone(), half].concat();
        let dims = [CHANNELS, self.size(x), 3, 3];
        let weight = self.constant("pruned.w", &dims, values);
        let half = self.values(CHANNELS / 2, 0.1, 0.4);
        let bias = self.constant("pruned.b", &[CHANNELS], [half.clone(), half].concat());
        let op = Conv {
            kernel: vec![3, 3],
            strides: vec![1, 1],
            pads: vec![1; 4],
            dilations: vec![1, 1],
            group: 1,
        };
        let y = self.push("pruned", op, &[x, weight, bias]);
        self.relu(y)
    }

    fn pooled(&mut self, x: ValueId) -> ValueId {
        let x = self.push("pool", GlobalAveragePool, &[x]);
        self.push("flat", Flatten { axis: 1 }, &[x])
    }

    fn classes(&mut self, x: ValueId) -> ValueId {
        let dims = [CLASSES, self.size(x)];
        let values = self.values(dims[0] * dims[1], 0.0, 0.8);
        let weight = self.constant("classes.w", &dims, values);
        let bias = self.values(CLASSES, 0.0, 0.4);
        let bias = self.constant("classes.b", &[CLASSES], bias);
        let op = Gemm {
            trans_b: true,
            ..Gemm::default()
        };
        self.push("classes", op, &[x, weight, bias])
    }
}

/// What reads the redundant channels, up to the classifier.
type Reader = fn(&mut Net, ValueId) -> ValueId;

const READERS: [(&str, Reader); 10] = [
    ("a convolution with a stride and uneven pads", |net, x| {
        let window = Window {
            stride: 2,
            pads: [0, 1, 2, 1],
            ..PLAIN
        };
        let y = net.conv("reader", x, 6, &window);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a convolution with a dilation", |net, x| {
        let window = Window {
            pads: [2; 4],
            dilation: 2,
            ..PLAIN
        };
        let y = net.conv("reader", x, 6, &window);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a convolution in groups", |net, x| {
        let x = net.conv("mixed", x, 8, &PLAIN);
        let x = net.relu(x);
        let window = Window { group: 2, ..PLAIN };
        let y = net.conv("reader", x, 6, &window);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a batch normalisation behind a convolution", |net, x| {
        let y = net.conv("reader", x, 6, &PLAIN);
        let y = net.norm("norm", y);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a depthwise convolution and a pointwise one", |net, x| {
        let half = net.values(CHANNELS / 2 * 9, 0.0, 0.8);
        let weight = [half.clone(), half].concat();
        let weight = net.constant("depthwise.w", &[CHANNELS, 1, 3, 3], weight);
        let op = Conv {
            kernel: vec![3, 3],
            strides: vec![1, 1],
            pads: vec![1; 4],
            dilations: vec![1, 1],
            group: CHANNELS,
        };
        let y = net.push("depthwise", op, &[x, weight]);
        let y = net.relu(y);
        let window = Window {
            kernel: 1,
            pads: [0; 4],
            ..PLAIN
        };
        let y = net.conv("reader", y, 6, &window);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a transposed convolution", |net, x| {
        let values = net.values(CHANNELS * 6 * 9, 0.0, 0.8);
        let weight = net.constant("reader.w", &[CHANNELS, 6, 3, 3], values);
        let bias = net.values(6, 0.1, 0.4);
        let bias = net.constant("reader.b", &[6], bias);
        let op = ConvTranspose {
            kernel: vec![3, 3],
            strides: vec![2, 2],
            pads: vec![1, 0, 1, 0],
            dilations: vec![1, 1],
            group: 1,
            output_padding: vec![1, 0],
        };
        let y = net.push("reader", op, &[x, weight, bias]);
        let y = net.relu(y);
        net.pooled(y)
    }),
    ("a Gemm", |net, x| net.pooled(x)),
    ("a MatMul with a bias", |net, x| {
        let x = net.pooled(x);
        let values = net.values(CHANNELS * 6, 0.0, 0.8);
        let weight = net.constant("reader.w", &[CHANNELS, 6], values);
        let y = net.push("reader", MatMul, &[x, weight]);
        let bias = net.values(6, 0.1, 0.4);
        let bias = net.constant("reader.b", &[6], bias);
        let y = net.push("reader.add", Add, &[y, bias]);
        net.relu(y)
    }),
    (
        "a convolution before a short-cut that runs later",
        |net, x| {
            let y = net.conv("reader", x, 6, &PLAIN);
            let short_cut = net.conv("short_cut", x, 6, &PLAIN);
            let y = net.push("sum", Add, &[y, short_cut]);
            let y = net.relu(y);
            net.pooled(y)
        },
    ),
    ("a residual block behind another", |net, x| {
        let x = net.conv("trunk", x, 6, &PLAIN);
        let x = net.relu(x);
        let y = net.conv("inner", x, 6, &PLAIN);
        let y = net.relu(y);
        let y = net.conv("reader", y, 6, &PLAIN);
        let y = net.push("sum", Add, &[y, x]);
        let y = net.relu(y);
        net.pooled(y)
    }),
];

fn build(reader: Reader) -> Graph {
    let mut net = Net {
        graph: Graph::new("redundant", 17),
        rng: ChaCha8Rng::seed_from_u64(7),
    };
    let size = [3, 8, 8].map(Dim::Known);
    let shape = [&[Dim::Symbol("N".into())][..], &size].concat();
    let x = net.graph.add_input("x", DType::F32, shape);
    let y = net.redundant(x);
    let y = reader(&mut net, y);
    let y = net.classes(y);
    net.graph.add_output(y);
    net.graph.check().unwrap();
    net.graph
}

/// Largest difference of two networks' outputs on the same images, relative to the largest output.
fn difference(a: &Graph, b: &Graph) -> f64 {
    let data = data(60, 9);
    let indices: Vec<usize> = (0..data.len()).collect();
    let outputs = |graph| {
        let of = train::reference_outputs(graph, &*data, &indices, Runtime::default());
        of.unwrap().1
    };
    let (a, b) = (outputs(a), outputs(b));
    let largest = |values: &mut dyn Iterator<Item = f32>| values.map(f32::abs).fold(0.0, f32::max);
    let distance = largest(&mut a.iter().zip(&b).map(|(a, b)| a - b));
    f64::from(distance / largest(&mut a.iter().copied()))
}

/// A network without half of the channels of one group, before and after the repair.
struct Halved {
    cut: Graph,
    repaired: Graph,
    not_refitted: Vec<String>,
}

impl Halved {
    fn of(graph: &Graph) -> Self {
        let analysis = analyse(graph).unwrap();
        let groups = analysis.groups().iter();
        let order: Vec<Vec<usize>> = groups.map(|g| (0..g.channels).collect()).collect();
        let prunable = Prunable {
            graph,
            analysis: &analysis,
            order: &order,
        };
        let mut widths: Vec<usize> = analysis.groups().iter().map(|g| g.channels).collect();
        let pruned = analysis.groups().iter().position(|g| g.name == "pruned");
        widths[pruned.unwrap()] = CHANNELS / 2;
        let config = RepairConfig {
            ridge: 1e-9,
            ..RepairConfig::default()
        };
        let images = data(200, 1);
        let repairer = Repairer::new(prunable, &*images, &config, Runtime::default()).unwrap();
        let repaired = repairer.repair(&widths).unwrap();
        Self {
            cut: channels::apply(graph, &prunable.cut(&widths).unwrap()).unwrap(),
            not_refitted: repaired.not_refitted(),
            repaired: repaired.graph().unwrap(),
        }
    }
}

/// Checks that a repair recovers what a cut loses.
fn check_recovered(name: &str, original: &Graph, cut: &Graph, repaired: &Graph) {
    let (before, after) = (difference(original, cut), difference(original, repaired));
    assert!(before > 0.05, "{name}: the cut alone is off by {before}");
    assert!(after < 2e-3, "{name}: off by {after}, by {before} before");
}

#[test]
fn what_the_kept_channels_can_express_is_recovered_for_every_kind_of_layer() {
    for (name, reader) in READERS {
        let graph = build(reader);
        let halved = Halved::of(&graph);
        assert_eq!(halved.not_refitted, Vec::<String>::new(), "{name}");
        check_recovered(name, &graph, &halved.cut, &halved.repaired);
    }
}

#[test]
fn layers_before_an_operator_that_does_not_run_are_repaired() {
    // CastLike does not run in libtorch.
    let graph = build(|net, x| {
        let y = net.conv("reader", x, 6, &PLAIN);
        let y = net.relu(y);
        let y = net.pooled(y);
        let like = net.constant("like", &[1], vec![0.0]);
        let op = Opaque {
            op_type: "CastLike".into(),
            ..Opaque::default()
        };
        net.push("stop", op, &[y, like])
    });
    assert_eq!(torch_exec::first_stop(&graph).unwrap().node, "stop");
    let halved = Halved::of(&graph);
    let [original, cut, repaired] =
        [&graph, &halved.cut, &halved.repaired].map(|of| torch_exec::front(of));
    check_recovered("the front", &original, &cut, &repaired);
}

#[test]
fn nothing_changes_at_full_width() {
    let subject = subject();
    let images = data(100, 1);
    let config = RepairConfig::default();
    let repairer = Repairer::new(subject.prunable(), &*images, &config, Runtime::default());
    let repairer = repairer.unwrap();
    assert_eq!(repairer.repair(&subject.full).unwrap().changed(), 0);
}

#[test]
fn layers_with_too_few_positions_keep_their_weights() {
    let subject = subject();
    let images = data(2, 1);
    let config = RepairConfig {
        rows: 20,
        ..RepairConfig::default()
    };
    let repairer = Repairer::new(subject.prunable(), &*images, &config, Runtime::default());
    let repairer = repairer.unwrap();
    let repaired = repairer.repair(&[4, 6]).unwrap();
    assert_eq!(repaired.changed(), 0);
    assert_eq!(repaired.not_refitted(), ["a", "b", "dense"]);
}

#[test]
fn a_removed_branch_leaves_a_network_that_is_nearer_to_the_original() {
    let subject = subject();
    let images = data(200, 1);
    let config = RepairConfig::default();
    let repairer = Repairer::new(subject.prunable(), &*images, &config, Runtime::default());
    let repairer = repairer.unwrap();
    let cut = subject.prunable().cut(&[8, 0]).unwrap();
    let before = difference(
        &subject.graph,
        &channels::apply(&subject.graph, &cut).unwrap(),
    );
    let repaired = repairer.repair(&[8, 0]).unwrap().graph().unwrap();
    let after = difference(&subject.graph, &repaired);
    assert!(after < before * 0.5, "{after} after, {before} before");
}

#[test]
fn a_repaired_network_is_the_same_as_weights_and_as_a_graph() {
    let subject = subject();
    let images = data(200, 1);
    let config = RepairConfig::default();
    let repairer = Repairer::new(subject.prunable(), &*images, &config, Runtime::default());
    let repairer = repairer.unwrap();
    let repaired = repairer.repair(&[4, 6]).unwrap();
    let graph = repaired.graph().unwrap();
    let expected = evaluate(&graph, &*images, 50, Runtime::default()).unwrap();
    let network = train::Network::new(&subject.graph, Runtime::default().options).unwrap();
    let indices: Vec<usize> = (0..images.len()).collect();
    let (all, labels) = read(&*images, &indices, Runtime::default().device).unwrap();
    let (cut, mode) = (Some(repaired.cut()), torch_exec::NormMode::Running);
    let logits = tch::no_grad(|| network.logits(&all, &repaired, cut, mode)).unwrap();
    assert_eq!(
        torch_exec::accuracy(&logits, &labels).unwrap(),
        expected.correct()
    );
}
