//! Runs single operators.
#![allow(dead_code, reason = "each test uses a part")]

use onnx_graph::ops::Op;
use onnx_graph::{DType, Dim, Graph};
use torch_exec::{Device, Kind, NormMode, Params, Program, Tensor};

pub fn input(graph: &mut Graph, dims: &[usize]) -> onnx_graph::ValueId {
    graph.add_input(
        "x",
        DType::F32,
        dims.iter().map(|&d| Dim::Known(d)).collect(),
    )
}

pub fn values(t: &Tensor) -> Vec<f32> {
    Vec::try_from(&t.to_kind(Kind::Float).contiguous().flatten(0, -1)).unwrap()
}

pub fn tensor(dims: &[usize], data: &[f32]) -> Tensor {
    Tensor::from_slice(data).reshape(dims.iter().map(|&d| d as i64).collect::<Vec<_>>())
}

pub fn same(got: &Tensor, dims: &[usize], data: &[f32], what: &str) {
    let size: Vec<usize> = got.size().iter().map(|&d| d as usize).collect();
    assert_eq!(size, dims, "{what}");
    for (g, w) in values(got).iter().zip(data) {
        assert!(
            (g - w).abs() <= 1e-5 * w.abs().max(1.0),
            "{what}: {:?} should be {data:?}",
            values(got)
        );
    }
}

/// An operand or a result: dimensions and elements.
pub type Data<'a> = (&'a [usize], &'a [f32]);

/// Runs `op` on the first of `operands` as the network's input and the others as constants.
pub fn check(op: Op, operands: &[Data], expected: Data) {
    let what = format!("{op:?}");
    let mut graph = Graph::new("one", 17);
    let x = input(&mut graph, operands[0].0);
    let mut ids = vec![x];
    for (i, (dims, data)) in operands.iter().enumerate().skip(1) {
        let constant = onnx_graph::Tensor::f32(dims.to_vec(), data.to_vec()).unwrap();
        ids.push(graph.add_constant(&format!("c{i}"), constant));
    }
    let y = graph.push("node", op, &ids).unwrap();
    graph.add_output(y);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let x = tensor(operands[0].0, operands[0].1);
    let got = program
        .forward(&x, &params, None, NormMode::Running)
        .unwrap();
    same(&got, expected.0, expected.1, &what);
    same(
        &x,
        operands[0].0,
        operands[0].1,
        &format!("{what} must leave the caller's input as it is"),
    );
}

pub const IMAGE: &[usize] = &[1, 1, 3, 3];
pub const NINE: &[f32] = &[1., 2., 3., 4., 5., 6., 7., 8., 9.];
