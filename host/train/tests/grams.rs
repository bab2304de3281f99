//! Gram matrices of layers' inputs are those that the layers' outputs imply.

use channels::weight_out_axis;
use onnx_graph::ops::{Conv, ConvTranspose, Flatten, Gemm, MatMul, Op};
use onnx_graph::{DType, Dim, Graph, Tensor};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use torch_exec::{NormMode, Params, Program};
use train::{Gram, grams};

const IMAGES: usize = 6;
const CHANNELS: usize = 4;
const SIDE: usize = 7;

/// `op` on images, or on flat rows where it is a matrix; with a weight of `dims`.
fn network(op: Op, dims: &[usize]) -> Graph {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut graph = Graph::new("layer", 17);
    let sizes = [CHANNELS, SIDE, SIDE].map(Dim::Known);
    let shape = [&[Dim::Symbol("N".into())], sizes.as_slice()].concat();
    let mut x = graph.add_input("x", DType::F32, shape);
    let count = dims.iter().product();
    let values = (0..count).map(|_| rng.random::<f32>() - 0.5).collect();
    let weight = graph.add_constant("w", Tensor::f32(dims, values).unwrap());
    if matches!(op, Op::Gemm(_) | Op::MatMul(_)) {
        x = graph
            .push("flat", Flatten { axis: 1 }.into(), &[x])
            .unwrap();
    }
    let y = graph.push("layer", op, &[x, weight]).unwrap();
    graph.add_output(y);
    graph
}

/// The images in two batches, the same at every call.
///
/// A generator of its own draws them: that of libtorch belongs to the process, so tests in other
/// threads would take numbers from it.
fn batches() -> Vec<(tch::Tensor, tch::Tensor)> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let size = [IMAGES as i64 / 2, CHANNELS as i64, SIDE as i64, SIDE as i64];
    let mut batch = || {
        let count = size.iter().product::<i64>();
        let values: Vec<f32> = (0..count)
            .map(|_| rng.random::<f32>() * 2.0 - 1.0)
            .collect();
        let images = tch::Tensor::from_slice(&values).reshape(size);
        (images, tch::Tensor::zeros([size[0]], tch::kind::INT64_CPU))
    };
    vec![batch(), batch()]
}

/// The sum over the output channels of `w G w^T`.
fn energy(graph: &Graph, gram: &Gram) -> f64 {
    let node = graph.nodes().last().unwrap();
    let weight = graph.constant(node.input(1).unwrap()).unwrap();
    let axis = weight_out_axis(&node.op);
    let (dims, values) = (weight.dims(), weight.as_f32().unwrap());
    let outputs = dims[axis];
    let inner: usize = dims[axis + 1..].iter().product();
    let mut rows = vec![Vec::new(); outputs];
    for (index, value) in values.iter().enumerate() {
        rows[index / inner % outputs].push(f64::from(*value));
    }
    let per_group = outputs / gram.groups.len();
    let mut energy = 0.0;
    for (row, group) in rows.chunks(per_group).zip(&gram.groups) {
        for w in row {
            assert_eq!(w.len(), gram.size);
            for (i, a) in w.iter().enumerate() {
                let products = &group[i * gram.size..][..gram.size];
                energy += a * products.iter().zip(w).map(|(g, b)| g * b).sum::<f64>();
            }
        }
    }
    energy
}

/// The sum over the output channels of the mean square of the outputs.
fn mean_square(graph: &Graph) -> f64 {
    let program = Program::compile(graph).unwrap();
    let params = Params::from_graph(graph, tch::Device::Cpu).unwrap();
    let mut squares = 0.0;
    let mut positions = 0;
    for (images, _) in batches() {
        let out = tch::no_grad(|| program.forward(&images, &params, None, NormMode::Running));
        let out = out.unwrap();
        squares += out.square().sum(tch::Kind::Double).double_value(&[]);
        positions += out.numel() / out.size()[1] as usize;
    }
    squares / positions as f64
}

#[test]
fn a_gram_implies_the_energy_of_the_outputs() {
    let conv = |kernel: usize, stride: usize, group: usize| Conv {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads: vec![0, 1, 1, 0],
        dilations: vec![2; 2],
        group,
    };
    let transposed = ConvTranspose {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
        output_padding: vec![0; 2],
    };
    let flat = CHANNELS * SIDE * SIDE;
    let by_rows = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let cases: [(Op, Vec<usize>, usize); 7] = [
        (conv(3, 1, 1).into(), vec![5, CHANNELS, 3, 3], 1),
        (conv(2, 2, 2).into(), vec![6, CHANNELS / 2, 2, 2], 2),
        (conv(3, 1, 4).into(), vec![8, 1, 3, 3], 4),
        (transposed.into(), vec![CHANNELS, 3, 3, 3], 1),
        (Gemm::default().into(), vec![flat, 3], 1),
        (by_rows.into(), vec![3, flat], 1),
        (MatMul.into(), vec![flat, 3], 1),
    ];
    for (op, dims, groups) in cases {
        let name = op.name().to_owned();
        let graph = network(op, &dims);
        let found = grams(&graph, &batches(), usize::MAX, 0).unwrap();
        let (weight, gram) = found.first_key_value().unwrap();
        assert_eq!(graph.value(*weight).name, "w");
        assert_eq!(gram.groups.len(), groups, "{name}");
        let (got, expected) = (energy(&graph, gram), mean_square(&graph));
        assert!(
            (got / expected - 1.0).abs() < 1e-4,
            "{name} {dims:?}: {got} instead of {expected}"
        );
        let sampled = grams(&graph, &batches(), 40, 1).unwrap();
        let sampled = energy(&graph, &sampled[weight]);
        assert!(
            (0.3..3.0).contains(&(sampled / expected)),
            "{name}: {sampled} from a sample instead of {expected}"
        );
    }
}

#[test]
fn a_weight_that_two_layers_read_has_no_gram() {
    let mut graph = network(MatMul.into(), &[CHANNELS * SIDE * SIDE, 3]);
    let node = graph.nodes().last().unwrap();
    let inputs = [node.input(0).unwrap(), node.input(1).unwrap()];
    let again = graph.push("again", MatMul.into(), &inputs).unwrap();
    graph.add_output(again);
    assert!(grams(&graph, &batches(), 100, 0).unwrap().is_empty());
}
