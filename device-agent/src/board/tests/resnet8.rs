//! MLPerf Tiny's ResNet-8, whose weights mean nothing: what counts are its shapes.

use onnx_graph::ops::{Add, Conv, Flatten, Gemm, GlobalAveragePool, Relu};
use onnx_graph::{DType, Dim, Graph, Tensor, ValueId};

/// The network for images of 32x32.
pub fn resnet8() -> Graph {
    let mut graph = Graph::new("resnet8", 17);
    let dims = [1, 3, 32, 32].map(Dim::Known).to_vec();
    let image = graph.add_input("image", DType::F32, dims);
    let x = conv(&mut graph, image, [3, 16], square(3, 1));
    let mut x = relu(&mut graph, x);
    for (from, to, stride) in [(16, 16, 1), (16, 32, 2), (32, 64, 2)] {
        let y = conv(&mut graph, x, [from, to], square(3, stride));
        let y = relu(&mut graph, y);
        let y = conv(&mut graph, y, [to, to], square(3, 1));
        if stride > 1 {
            x = conv(&mut graph, x, [from, to], square(1, stride));
        }
        let name = name(&graph);
        let sum = graph.push(&name, Add.into(), &[x, y]).unwrap();
        x = relu(&mut graph, sum);
    }
    let x = graph.push("pool", GlobalAveragePool.into(), &[x]).unwrap();
    let x = graph.push("row", Flatten { axis: 1 }.into(), &[x]).unwrap();
    let weight = graph.add_constant("dense.weight", numbers([10, 64]));
    let gemm = Gemm {
        trans_b: true,
        ..Gemm::default()
    };
    let y = graph.push("dense", gemm.into(), &[x, weight]).unwrap();
    graph.add_output(y);
    graph
}

/// A convolution whose padding keeps the size at stride 1.
pub fn square(kernel: usize, stride: usize) -> Conv {
    Conv {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads: vec![kernel / 2; 4],
        dilations: vec![1; 2],
        group: 1,
    }
}

/// Appends a convolution of an image of `from` channels to `to`.
pub fn conv(graph: &mut Graph, x: ValueId, [from, to]: [usize; 2], op: Conv) -> ValueId {
    let name = name(graph);
    let dims = [to, from / op.group, op.kernel[0], op.kernel[1]];
    let weight = graph.add_constant(&format!("{name}.weight"), numbers(dims));
    graph.push(&name, op.into(), &[x, weight]).unwrap()
}

fn relu(graph: &mut Graph, x: ValueId) -> ValueId {
    let name = name(graph);
    graph.push(&name, Relu.into(), &[x]).unwrap()
}

fn name(graph: &Graph) -> String {
    format!("node{}", graph.nodes().len())
}

/// Different numbers between -0.5 and 0.5.
fn numbers<const N: usize>(dims: [usize; N]) -> Tensor {
    let count = dims.iter().product();
    let values = (0..count).map(|i: usize| ((i * 7919) % 255) as f32 / 255.0 - 0.5);
    Tensor::f32(dims, values.collect()).unwrap()
}
