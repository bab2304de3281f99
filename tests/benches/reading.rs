//! Time and memory of reading networks whose weights are computed from constants: by weight
//! normalisation (Salimans and Kingma, 2016), weight standardisation (Qiao et al., 2019) and
//! spectral normalisation (Miyato et al., 2018).
//!
//! The memory is the process's peak beyond what it holds before the first reading of each
//! network, as a multiple of the file.

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use onnx_graph::ops::{
    Add, Conv, Div, MatMul, Mul, Op, ReduceL2, ReduceMean, ReduceSum, Reshape, Sqrt, Sub,
};
use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, ValueId, read_owned, write};

/// Layers of 512 to 512 channels with windows of 3x3, 9.4 MB of weights each.
const LAYERS: usize = 11;
const WIDTH: usize = 512;

/// How the weights of a network are computed.
#[derive(Clone, Copy)]
enum Weights {
    Normalised,
    Standardised,
    Spectral,
}

struct Net {
    graph: Graph,
}

impl Net {
    fn constant(&mut self, dims: &[usize]) -> ValueId {
        let count = dims.iter().product::<usize>();
        let data = (0..count).map(|i| (i % 1013) as f32 * 1e-3 + 0.01);
        let tensor = Tensor::f32(dims, data.collect()).expect("the sizes agree");
        self.graph.add_constant("w", tensor)
    }

    fn push(&mut self, op: impl Into<Op>, inputs: &[ValueId]) -> ValueId {
        let pushed = self.graph.push("node", op.into(), inputs);
        pushed.expect("the operands fit")
    }

    /// A weight as `weights` computes it.
    fn weight(&mut self, weights: Weights) -> ValueId {
        let raw = self.constant(&[WIDTH, WIDTH, 3, 3]);
        let axes = vec![1, 2, 3];
        let keepdims = true;
        match weights {
            Weights::Normalised => {
                let norm = self.push(ReduceL2 { axes, keepdims }, &[raw]);
                let unit = self.push(Div, &[raw, norm]);
                let gain = self.constant(&[WIDTH, 1, 1, 1]);
                self.push(Mul, &[unit, gain])
            }
            Weights::Standardised => {
                let mean = ReduceMean { axes, keepdims };
                let middle = self.push(mean.clone(), &[raw]);
                let centred = self.push(Sub, &[raw, middle]);
                let square = self.push(Mul, &[centred, centred]);
                let variance = self.push(mean, &[square]);
                let little = self.constant(&[]);
                let safe = self.push(Add, &[variance, little]);
                let deviation = self.push(Sqrt, &[safe]);
                self.push(Div, &[centred, deviation])
            }
            Weights::Spectral => {
                let target = vec![WIDTH as i64, -1];
                let rows = Reshape {
                    target,
                    allow_zero: false,
                };
                let rows = self.push(rows, &[raw]);
                let right = self.constant(&[WIDTH * 9, 1]);
                let product = self.push(MatMul, &[rows, right]);
                let left = self.constant(&[WIDTH, 1]);
                let both = self.push(Mul, &[product, left]);
                let all = ReduceSum {
                    axes: Vec::new(),
                    keepdims: false,
                };
                let sigma = self.push(all, &[both]);
                self.push(Div, &[raw, sigma])
            }
        }
    }
}

fn network(weights: Weights) -> Vec<u8> {
    let mut net = Net {
        graph: Graph::new("normed", 17),
    };
    let sizes = [WIDTH, 8, 8].map(Dim::Known);
    let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
    let mut x = net.graph.add_input("x", DType::F32, shape);
    for _ in 0..LAYERS {
        let weight = net.weight(weights);
        let conv = Conv {
            kernel: vec![3; 2],
            strides: vec![1; 2],
            pads: vec![1; 4],
            dilations: vec![1; 2],
            group: 1,
        };
        x = net.push(conv, &[x, weight]);
    }
    net.graph.add_output(x);
    write(&net.graph).expect("the network is sound")
}

/// A line of Linux's status of this process, in bytes; 0 elsewhere.
fn status(name: &str) -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    let word = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    word.unwrap_or(0.0) * 1024.0
}

/// Processor time that this process has taken, in seconds; 0 on other systems than Linux.
fn processor_time() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The program's name may have spaces in it; user and system time are the 12th and 13th field
    // behind it, in hundredths of a second.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let times = fields.split_whitespace().skip(11).take(2);
    times.filter_map(|t| t.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    for (name, weights) in [
        ("normalised", Weights::Normalised),
        ("standardised", Weights::Standardised),
        ("spectral", Weights::Spectral),
    ] {
        let bytes = network(weights);
        let size = bytes.len() as f64;
        // Linux forgets the former peak.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = status("VmRSS:");
        let start = processor_time();
        let graph = read_owned(bytes.clone(), &NoExternalData).expect("it is read");
        let left = graph.nodes().len();
        println!(
            "{name}: {:.0} MB, {left} nodes are left, {:.2} s of processor time, {:.1} times the file in memory",
            size / 1e6,
            processor_time() - start,
            (status("VmHWM:") - before) / size
        );
        drop(graph);
        criterion.bench_function(&format!("read {name} weights"), |b| {
            let again = || bytes.clone();
            let read = |bytes| black_box(read_owned(bytes, &NoExternalData).expect("it is read"));
            b.iter_batched(again, read, BatchSize::PerIteration);
        });
    }
}
