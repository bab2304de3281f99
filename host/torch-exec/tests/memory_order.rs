//! Channels-last images keep their memory order forwards and backwards: a gradient in another
//! order slows down every operation that combines it with them.

mod common;

use common::*;
use onnx_graph::Graph;
use onnx_graph::ops::*;
use torch_exec::{
    Device, ExecOptions, Kind, MemoryFormat, NormMode, Params, Program, Tensor, to_format,
};

const DIMS: [usize; 4] = [2, 3, 4, 6];

/// Returns the result of `op` on an image in `memory_format` and the gradient of a weighted sum
/// of it.
fn run(op: &Op, memory_format: MemoryFormat) -> (Tensor, Tensor) {
    let mut graph = Graph::new("one", 17);
    let x = input(&mut graph, &DIMS);
    let y = graph.push("node", op.clone(), &[x]).unwrap();
    graph.add_output(y);
    let options = ExecOptions {
        memory_format,
        ..ExecOptions::default()
    };
    let program = Program::with_options(&graph, options).unwrap();
    let params = Params::with_options(&graph, Device::Cpu, &options).unwrap();
    let count = DIMS.iter().product::<usize>() as i64;
    let ramp = |n: i64| Tensor::arange(n, (Kind::Float, Device::Cpu));
    let x = ramp(count).sin().reshape(DIMS.map(|d| d as i64));
    let x = to_format(&x, memory_format)
        .unwrap()
        .set_requires_grad(true);
    let out = program
        .forward(&x, &params, None, NormMode::Running)
        .unwrap();
    let weights = ramp(out.numel() as i64).cos().reshape(out.size());
    let weights = to_format(&weights, memory_format).unwrap();
    let loss = (&out * weights).sum(Kind::Float);
    let gradient = Tensor::run_backward(&[loss], &[&x], false, false).remove(0);
    assert_eq!(
        gradient.stride(),
        x.stride(),
        "the gradient of {op:?} has another memory order than its input ({memory_format:?})"
    );
    (out.detach(), gradient)
}

fn check_order(op: Op) {
    let (out, gradient) = run(&op, MemoryFormat::Contiguous);
    let (last_out, last_gradient) = run(&op, MemoryFormat::ChannelsLast);
    let what = format!("{op:?}");
    for (expected, got) in [(out, last_out), (gradient, last_gradient)] {
        let dims: Vec<usize> = expected.size().iter().map(|&d| d as usize).collect();
        same(&got, &dims, &values(&expected), &what);
    }
}

#[test]
fn gradients_keep_the_memory_order_of_their_images() {
    let slice = |axes: &[i64], starts: &[i64], steps: &[i64]| {
        Op::Slice(Slice {
            starts: starts.to_vec(),
            ends: vec![i64::MAX; axes.len()],
            axes: axes.to_vec(),
            steps: steps.to_vec(),
        })
    };
    let mean = |axes: &[i64], keepdims| {
        Op::ReduceMean(ReduceMean {
            axes: axes.to_vec(),
            keepdims,
        })
    };
    let pad = Pad {
        pads: vec![0, 1, 0, 0, 0, 2, 0, 0],
        mode: PadMode::Constant,
        value: 0.0,
    };
    for op in [
        slice(&[2, 3], &[0, 0], &[2, 2]),
        slice(&[-1], &[1], &[1]),
        slice(&[1], &[1], &[1]),
        Op::GlobalAveragePool(GlobalAveragePool),
        mean(&[2, 3], true),
        mean(&[-1, -2], false),
        mean(&[1], false),
        Op::Pad(pad),
        Op::Relu(Relu),
        Op::GlobalMaxPool(GlobalMaxPool),
    ] {
        check_order(op);
    }
}
