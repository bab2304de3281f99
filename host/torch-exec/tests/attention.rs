//! Operators of attention and its normalisations compared with results computed by hand.

mod common;

use common::{Data, check, same, tensor};
use onnx_graph::ops::*;
use onnx_graph::{DType, Dim, Graph};
use torch_exec::{Device, NormMode, Params, Program};

#[test]
fn norms_run_over_the_given_axes() {
    let op = ReduceL2 {
        axes: vec![1],
        keepdims: true,
    };
    let x: Data = (&[1, 2, 2], &[3., 0., 4., -5.]);
    check(Op::ReduceL2(op), &[x], (&[1, 1, 2], &[5., 5.]));
}

#[test]
fn instances_are_normalised_by_channel() {
    let op = InstanceNormalization { epsilon: 0.0 };
    let x: Data = (&[1, 2, 2], &[1., 3., 10., 30.]);
    check(
        op.into(),
        &[x, (&[2], &[1., 2.]), (&[2], &[0., 5.])],
        (&[1, 2, 2], &[-1., 1., 3., 7.]),
    );
}

#[test]
fn entries_are_gathered_in_the_order_and_shape_of_the_indices() {
    let x: Data = (&[1, 3, 2], &[1., 2., 3., 4., 5., 6.]);
    let gather = |axis, indices: &[i64], dims: &[usize]| {
        Op::Gather(Gather {
            axis,
            indices: indices.to_vec(),
            dims: dims.to_vec(),
        })
    };
    check(gather(1, &[-1], &[]), &[x], (&[1, 2], &[5., 6.]));
    let twice = gather(-2, &[2, 0, 0, 1], &[2, 2]);
    let expected = [5., 6., 1., 2., 1., 2., 3., 4.];
    check(twice, &[x], (&[1, 2, 2, 2], &expected));
}

#[test]
fn values_are_expanded_to_known_sizes_and_to_the_batch() {
    let sizes = vec![Dim::Known(2), Dim::Known(1), Dim::Known(2)];
    let x: Data = (&[1, 2, 1], &[1., 2.]);
    let expected: Data = (&[2, 2, 2], &[1., 1., 2., 2., 1., 1., 2., 2.]);
    check(Op::Expand(Expand { sizes }), &[x], expected);

    let mut graph = Graph::new("batch", 17);
    let dims = vec![Dim::Symbol("N".into()), Dim::Known(2)];
    let x = graph.add_input("x", DType::F32, dims.clone());
    let token = onnx_graph::Tensor::f32([1, 2], vec![7., 8.]).unwrap();
    let token = graph.add_constant("token", token);
    let batch = Shape {
        start: 0,
        end: Some(1),
    };
    let batch = graph.push("batch", batch.into(), &[x]).unwrap();
    let one = graph.add_constant("one", onnx_graph::Tensor::i64s(vec![1]));
    let list = graph
        .push("list", Concat { axis: 0 }.into(), &[batch, one])
        .unwrap();
    let op = Expand {
        sizes: vec![dims[0].clone(), Dim::Known(1)],
    };
    let tokens = graph.push("expand", op.into(), &[token, list]).unwrap();
    let y = graph
        .push("y", Concat { axis: 1 }.into(), &[tokens, x])
        .unwrap();
    graph.add_output(y);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let x = tensor(&[3, 2], &[1., 2., 3., 4., 5., 6.]);
    let got = program.forward(&x, &params, None, NormMode::Running);
    let expected = [7., 8., 1., 2., 7., 8., 3., 4., 7., 8., 5., 6.];
    same(&got.unwrap(), &[3, 4], &expected, "a token for each image");
}

#[test]
fn an_einsum_sums_over_the_letters_missing_in_the_output() {
    let op = Einsum {
        operands: vec![vec!['b', 'i', 'd'], vec!['b', 'j', 'd']],
        output: vec!['b', 'i', 'j'],
    };
    check(
        Op::Einsum(op),
        &[(&[1, 2, 2], &[1., 2., 3., 4.]), (&[1, 1, 2], &[10., 100.])],
        (&[1, 2, 1], &[210., 430.]),
    );
}
