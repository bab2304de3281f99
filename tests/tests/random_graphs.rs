//! Random networks made of the operators with channel rules, pruned by random plans, have the
//! outputs of the network with the dropped channels masked, with ONNX Runtime in a process of
//! its own as the reference.

mod random_operators;

use channels::{AnalysisOptions, Attention, analyse_with};
use graphprune_tests::{Array, difference, execute, prune_and_compare, random_plan};
use onnx_graph::ops::*;
use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, ValueId, read, write};
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Largest difference allowed, relative to the spread of the output.
const TOLERANCE: f64 = 1e-4;

/// A network under construction, and its current value: an image of `channels` and `side`.
struct Net {
    graph: Graph,
    rng: ChaCha8Rng,
    x: ValueId,
    channels: usize,
    side: usize,
}

impl Net {
    fn new(seed: u64) -> Self {
        let mut graph = Graph::new("random", 17);
        let sizes = [3, 8, 8].map(Dim::Known);
        let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
        let x = graph.add_input("x", DType::F32, shape);
        Self {
            graph,
            rng: ChaCha8Rng::seed_from_u64(seed),
            x,
            channels: 3,
            side: 8,
        }
    }

    fn weight(&mut self, dims: &[usize], low: f32, high: f32) -> ValueId {
        let count = dims.iter().product();
        let values = (0..count)
            .map(|_| self.rng.random_range(low..high))
            .collect();
        self.graph
            .add_constant("w", Tensor::f32(dims, values).unwrap())
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        self.graph.push("node", op.into(), inputs).unwrap()
    }

    fn conv(&mut self, x: ValueId, from: usize, to: usize, group: usize, stride: usize) -> ValueId {
        let kernel = *[1, 3].choose(&mut self.rng).unwrap();
        let per_group = from / group;
        let spread = 1.5 / ((per_group * kernel * kernel) as f32).sqrt();
        let w = self.weight(&[to, per_group, kernel, kernel], -spread, spread);
        let b = self.weight(&[to], -0.5, 0.5);
        let op = Conv {
            kernel: vec![kernel; 2],
            strides: vec![stride; 2],
            pads: vec![kernel / 2; 4],
            dilations: vec![1; 2],
            group,
        };
        let mut y = self.push(op, &[x, w, b]);
        if self.rng.random_bool(0.4) {
            y = self.batch_norm(y, to);
        }
        if self.rng.random_bool(0.7) {
            y = self.push(Relu, &[y]);
        }
        y
    }

    fn batch_norm(&mut self, x: ValueId, channels: usize) -> ValueId {
        let ranges = [(0.5, 1.5), (-0.5, 0.5), (-0.5, 0.5), (0.5, 1.5)];
        let parameters = ranges.map(|(low, high)| self.weight(&[channels], low, high));
        let inputs = [&[x], parameters.as_slice()].concat();
        self.push(BatchNormalization::default(), &inputs)
    }

    fn some_channels(&mut self) -> usize {
        *[4, 6, 8, 12].choose(&mut self.rng).unwrap()
    }

    fn step(&mut self) {
        let (x, c) = (self.x, self.channels);
        match self.rng.random_range(0..25) {
            0 => self.convolve(),
            1 => self.residual(),
            2 => {
                let (a, b) = (self.some_channels(), self.some_channels());
                let parts = [self.conv(x, c, a, 1, 1), self.conv(x, c, b, 1, 1)];
                self.x = self.push(Concat { axis: 1 }, &parts);
                self.channels = a + b;
            }
            3 => self.split(),
            4 if c.is_multiple_of(2) => self.shuffle(),
            5 if c.is_multiple_of(2) => {
                let to = self.some_channels();
                self.x = self.conv(x, c, to, 2, 1);
                self.channels = to;
            }
            6 => self.x = self.conv(x, c, c, c, 1),
            7 => self.squeeze_and_excite(),
            8 if self.side > 2 => {
                let op = MaxPool {
                    kernel: vec![2; 2],
                    strides: vec![2; 2],
                    pads: vec![0; 4],
                    dilations: vec![1; 2],
                    ceil_mode: false,
                };
                self.x = self.push(op, &[x]);
                self.side /= 2;
            }
            9 => self.normalise_layers(),
            10 => {
                let parts = [self.conv(x, c, c, 1, 1), self.conv(x, c, c, 1, 1)];
                self.x = self.push(Mul, &parts);
            }
            11 => self.pad_channels(),
            12 | 13 => self.attend(),
            14 if c.is_multiple_of(2) => self.normalise_groups(),
            15 => self.normalise_responses(),
            16 => self.gate_positions(),
            17 => self.mix_tokens(),
            18 => self.unflatten(),
            19 => self.append_zeros(),
            20 => self.bend(),
            21 => self.join(),
            22 => self.slide(),
            23 => self.move_elements(),
            24 => self.scale(),
            _ => self.convolve(),
        }
    }

    fn convolve(&mut self) {
        let to = self.some_channels();
        let stride = if self.side > 2 && self.rng.random_bool(0.3) {
            2
        } else {
            1
        };
        self.x = self.conv(self.x, self.channels, to, 1, stride);
        self.channels = to;
        self.side /= stride;
    }

    fn residual(&mut self) {
        let (x, c, inner) = (self.x, self.channels, self.some_channels());
        let y = self.conv(x, c, inner, 1, 1);
        let y = self.conv(y, inner, c, 1, 1);
        let operands = if self.rng.random_bool(0.5) {
            [x, y]
        } else {
            [y, x]
        };
        let sum = self.push(Add, &operands);
        self.x = self.push(Relu, &[sum]);
    }

    fn split(&mut self) {
        let (x, c) = (self.x, self.channels);
        let first = self.rng.random_range(1..c);
        let op = Split {
            axis: 1,
            sizes: vec![first, c - first],
        };
        let names = [Some("left"), Some("right")];
        let parts = self
            .graph
            .push_node("split", op.into(), vec![Some(x)], &names);
        let parts = parts.unwrap();
        let (left, right) = (parts[0].unwrap(), parts[1].unwrap());
        let to = self.some_channels();
        let right = self.conv(right, c - first, to, 1, 1);
        self.x = self.push(Concat { axis: 1 }, &[right, left]);
        self.channels = to + first;
    }

    fn shuffle(&mut self) {
        let (c, side) = (self.channels as i64, self.side as i64);
        let reshape = |target: Vec<i64>| Reshape {
            target,
            allow_zero: false,
        };
        let rows = self.push(reshape(vec![-1, 2, c / 2, side, side]), &[self.x]);
        let swap = Transpose {
            perm: vec![0, 2, 1, 3, 4],
        };
        let swapped = self.push(swap, &[rows]);
        self.x = self.push(reshape(vec![-1, c, side, side]), &[swapped]);
    }

    fn squeeze_and_excite(&mut self) {
        let (x, c, inner) = (self.x, self.channels, self.some_channels());
        let s = self.push(GlobalAveragePool, &[x]);
        let s = self.conv(s, c, inner, 1, 1);
        let s = self.conv(s, inner, c, 1, 1);
        let s = self.push(Sigmoid, &[s]);
        self.x = self.push(Mul, &[x, s]);
    }

    /// A map of one channel that meets all channels.
    fn gate_positions(&mut self) {
        let gate = self.conv(self.x, self.channels, 1, 1, 1);
        let gate = self.push(Sigmoid, &[gate]);
        let op: Op = if self.rng.random_bool(0.5) {
            Mul.into()
        } else {
            Add.into()
        };
        let operands = if self.rng.random_bool(0.5) {
            [self.x, gate]
        } else {
            [gate, self.x]
        };
        self.x = self.push(op, &operands);
    }

    /// A product over the positions, behind or before the channels, beside its input.
    fn mix_tokens(&mut self) {
        let (x, c, side) = (self.x, self.channels as i64, self.side as i64);
        let tokens = self.side * self.side;
        let reshape = |target: Vec<i64>| Reshape {
            target,
            allow_zero: false,
        };
        let turn = || Transpose {
            perm: vec![0, 2, 1],
        };
        let rows = self.push(reshape(vec![0, c, -1]), &[x]);
        let weight = self.weight(&[tokens, tokens], -0.3, 0.3);
        let mixed = if self.rng.random_bool(0.5) {
            let mixed = self.push(MatMul, &[rows, weight]);
            let bias = self.weight(&[tokens], -0.5, 0.5);
            self.push(Add, &[mixed, bias])
        } else {
            let columns = self.push(turn(), &[rows]);
            let mixed = self.push(MatMul, &[weight, columns]);
            self.push(turn(), &[mixed])
        };
        let sum = self.push(Add, &[rows, mixed]);
        self.x = self.push(reshape(vec![-1, c, side, side]), &[sum]);
    }

    /// An image whose channels are blocks of a linear layer's.
    fn unflatten(&mut self) {
        let (c, side) = (self.some_channels(), self.side);
        let x = self.push(GlobalAveragePool, &[self.x]);
        let x = self.push(Flatten { axis: 1 }, &[x]);
        let weight = self.weight(&[self.channels, c * side * side], -0.5, 0.5);
        let x = self.push(Gemm::default(), &[x, weight]);
        let target = [c, side, side].map(|n| n as i64);
        let image = Reshape {
            target: [&[-1], target.as_slice()].concat(),
            allow_zero: false,
        };
        let x = self.push(image, &[x]);
        let to = self.some_channels();
        self.x = self.conv(x, c, to, 1, 1);
        self.channels = to;
    }

    /// A short-cut that appends as many zeros as there are channels.
    fn append_zeros(&mut self) {
        let (x, c) = (self.x, self.channels);
        let whole = Shape {
            start: 0,
            end: None,
        };
        let sizes = self.push(whole, &[x]);
        let fill = Opaque {
            op_type: "ConstantOfShape".into(),
            ..Opaque::default()
        };
        let zeros = self.push(fill, &[sizes]);
        let short = self.push(Concat { axis: 1 }, &[x, zeros]);
        let y = self.conv(x, c, 2 * c, 1, 1);
        self.x = self.push(Add, &[short, y]);
        self.channels = 2 * c;
    }

    fn normalise_layers(&mut self) {
        let turn = |perm: [usize; 4]| Transpose {
            perm: perm.to_vec(),
        };
        let last = self.push(turn([0, 2, 3, 1]), &[self.x]);
        let scale = self.weight(&[self.channels], 0.5, 1.5);
        let bias = self.weight(&[self.channels], -0.5, 0.5);
        let op = LayerNormalization {
            axis: -1,
            epsilon: 1e-3,
        };
        let y = self.push(op, &[last, scale, bias]);
        self.x = self.push(turn([0, 3, 1, 2]), &[y]);
    }

    /// Self-attention over the positions, packed as exporters write it, beside its input.
    fn attend(&mut self) {
        let (x, c, tokens) = (self.x, self.channels, self.side * self.side);
        let (heads, width) = (self.rng.random_range(1..3), self.rng.random_range(1..5));
        let inner = heads * width;
        let reshape = |target: &[usize]| {
            let sizes = target.iter().map(|&t| t as i64);
            Reshape {
                target: [0].into_iter().chain(sizes).collect(),
                allow_zero: false,
            }
        };
        let turn = |perm: &[usize]| Transpose {
            perm: perm.to_vec(),
        };
        let flat = self.push(reshape(&[c, tokens]), &[x]);
        let rows = self.push(turn(&[0, 2, 1]), &[flat]);
        let weight = self.weight(&[c, 3 * inner], -0.5, 0.5);
        let packed = self.push(MatMul, &[rows, weight]);
        let bias = self.weight(&[3 * inner], -0.5, 0.5);
        let packed = self.push(Add, &[packed, bias]);
        let parts = self.push(reshape(&[tokens, 3, heads, width]), &[packed]);
        let parts = self.push(turn(&[2, 0, 3, 1, 4]), &[parts]);
        let [q, k, v] = [0, 1, 2].map(|i| {
            let pick = Gather {
                axis: 0,
                indices: vec![i],
                dims: vec![],
            };
            self.push(pick, &[parts])
        });
        let k = self.push(turn(&[0, 1, 3, 2]), &[k]);
        let scores = self.push(MatMul, &[q, k]);
        let places = self.weight(&[1, heads, tokens, tokens], -0.5, 0.5);
        let scores = self.push(Add, &[scores, places]);
        let shares = self.push(Softmax { axis: -1 }, &[scores]);
        let y = self.push(MatMul, &[shares, v]);
        let y = self.push(turn(&[0, 2, 1, 3]), &[y]);
        let y = self.push(reshape(&[tokens, inner]), &[y]);
        let weight = self.weight(&[inner, c], -0.5, 0.5);
        let y = self.push(MatMul, &[y, weight]);
        let y = self.push(turn(&[0, 2, 1]), &[y]);
        let y = self.push(reshape(&[c, self.side, self.side]), &[y]);
        self.x = self.push(Add, &[x, y]);
    }

    /// A group normalisation as PyTorch exports it.
    fn normalise_groups(&mut self) {
        let (x, c, side) = (self.x, self.channels, self.side as i64);
        let reshape = |target: Vec<i64>| Reshape {
            target,
            allow_zero: false,
        };
        let count = self.rng.random_range(1..3);
        let groups = self.push(reshape(vec![0, count as i64, -1]), &[x]);
        let scale = self.weight(&[count], 0.5, 1.5);
        let bias = self.weight(&[count], -0.5, 0.5);
        let op = InstanceNormalization { epsilon: 1e-3 };
        let y = self.push(op, &[groups, scale, bias]);
        let y = self.push(reshape(vec![0, c as i64, side, side]), &[y]);
        let scale = self.weight(&[c, 1, 1], 0.5, 1.5);
        self.x = self.push(Mul, &[y, scale]);
    }

    /// The global response normalisation of ConvNeXt V2 (Woo et al., CVPR 2023).
    fn normalise_responses(&mut self) {
        let norm = ReduceL2 {
            axes: vec![2, 3],
            keepdims: true,
        };
        let mean = ReduceMean {
            axes: vec![1],
            keepdims: true,
        };
        let norm = self.push(norm, &[self.x]);
        let mean = self.push(mean, &[norm]);
        let little = self.weight(&[], 0.1, 0.2);
        let mean = self.push(Add, &[mean, little]);
        let share = self.push(Div, &[norm, mean]);
        self.x = self.push(Mul, &[self.x, share]);
    }

    fn pad_channels(&mut self) {
        let (before, after) = (self.rng.random_range(0..3), self.rng.random_range(0..3));
        let to = self.channels + before + after;
        let pad = Pad {
            pads: vec![0, before as i64, 0, 0, 0, after as i64, 0, 0],
            mode: PadMode::Constant,
            value: 0.0,
        };
        let padded = self.push(pad, &[self.x]);
        let y = self.conv(self.x, self.channels, to, 1, 1);
        self.x = self.push(Add, &[padded, y]);
        self.channels = to;
    }

    fn finish(mut self) -> Graph {
        let x = self.push(GlobalAveragePool, &[self.x]);
        let x = self.push(Flatten { axis: 1 }, &[x]);
        let w = self.weight(&[5, self.channels], -1.0, 1.0);
        let b = self.weight(&[5], -1.0, 1.0);
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            trans_a: false,
            trans_b: true,
        };
        let y = self.push(op, &[x, w, b]);
        self.graph.add_output(y);
        self.graph
    }
}

fn check(seeds: std::ops::Range<u64>) {
    let (mut pruned_units, mut removed, mut sliced) = (0, 0, 0);
    for seed in seeds {
        let mut net = Net::new(seed);
        net.convolve();
        for _ in 0..net.rng.random_range(3..9) {
            net.step();
        }
        let written = write(&net.finish()).unwrap();
        let graph = read(&written, &NoExternalData).unwrap();
        let attention = if seed % 2 == 0 {
            Attention::Widths
        } else {
            Attention::Heads
        };
        let analysis = analyse_with(&graph, AnalysisOptions { attention }).unwrap();
        let feed = Array::uniform(&[2, 3, 8, 8], -2.0, 2.0, seed);
        for plan in [2 * seed, 2 * seed + 1] {
            // Every second plan empties a third of the removable groups.
            let remove = if plan % 2 == 1 { 0.33 } else { 0.0 };
            let plan = random_plan(&analysis, plan, 0.0..=1.0, remove);
            let found = prune_and_compare(&graph, &analysis, &plan, &feed)
                .unwrap_or_else(|e| panic!("seed {seed}: {e}"));
            assert!(
                found.apart.relative <= TOLERANCE,
                "seed {seed}: {}",
                found.apart
            );
            sliced += usize::from(found.sliced);
            let executed = execute(&graph, Some(&found.cut), &feed).unwrap();
            let executed = difference(&executed, &found.outputs[0]);
            assert!(
                executed.relative <= TOLERANCE,
                "seed {seed}, run with the cut: {executed}"
            );
            let groups = analysis.groups().iter().zip(&plan.keep);
            pruned_units += groups.map(|(g, k)| g.channels - k.len()).sum::<usize>();
            removed += plan.keep.iter().filter(|k| k.is_empty()).count();
        }
    }
    println!(
        "{pruned_units} units dropped, {removed} branches removed, {sliced} with zeros in the file"
    );
    assert!(pruned_units > 0 && removed > 0 && sliced > 0);
}

#[test]
fn random_networks_are_pruned_exactly_0() {
    check(0..100);
}

#[test]
fn random_networks_are_pruned_exactly_1() {
    check(100..200);
}

#[test]
fn random_networks_are_pruned_exactly_2() {
    check(200..300);
}
