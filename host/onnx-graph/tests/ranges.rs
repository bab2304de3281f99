//! The ranges of constants in a written file.

use onnx_graph::ops::{Conv, Flatten, Gemm, Op, Reshape};
use onnx_graph::{DType, Dim, Graph, NoExternalData, Tensor, deploy, read, write};

/// A convolution, a reshape by a constant and a matrix; with a constant that no node reads.
fn network() -> Graph {
    let mut graph = Graph::new("net", 17);
    let shape = [2, 3, 4, 4].map(Dim::Known);
    let x = graph.add_input("x", DType::F32, shape.to_vec());
    let mut constant = |name: &str, dims: &[usize]| {
        let count: usize = dims.iter().product();
        let values = (0..count).map(|i| (i as f32 * 0.7).sin()).collect();
        graph.add_constant(name, Tensor::f32(dims, values).unwrap())
    };
    let weights = [
        constant("conv.weight", &[5, 3, 1, 1]),
        constant("unused", &[7]),
        constant("fc.weight", &[80, 2]),
        constant("fc.bias", &[2]),
    ];
    let conv = Conv {
        kernel: vec![1; 2],
        strides: vec![1; 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let reshape = Reshape {
        target: vec![2, 80, 1],
        allow_zero: false,
    };
    let mut push = |name: &str, op: Op, inputs: &[_]| graph.push(name, op, inputs).unwrap();
    let y = push("conv", conv.into(), &[x, weights[0]]);
    let y = push("rows", reshape.into(), &[y]);
    let y = push("flat", Flatten { axis: 1 }.into(), &[y]);
    let y = push("fc", Gemm::default().into(), &[y, weights[2], weights[3]]);
    graph.add_output(y);
    graph
}

#[test]
fn a_range_holds_the_elements_of_its_constant() {
    let graph = network();
    let deployed = deploy(&graph, None).unwrap();
    assert_eq!(deployed.bytes, write(&graph).unwrap());
    let mut names = Vec::new();
    for (id, range) in &deployed.ranges {
        let values = deployed.graph.constant(*id).unwrap().as_f32().unwrap();
        let expected: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(deployed.bytes[range.clone()], expected);
        names.push(deployed.graph.value(*id).name.as_str());
    }
    assert_eq!(names, ["conv.weight", "fc.weight", "fc.bias"]);
}

#[test]
fn a_file_whose_range_is_overwritten_reads_with_the_new_elements() {
    let mut deployed = deploy(&network(), None).unwrap();
    let (id, range) = deployed.ranges.first_key_value().unwrap();
    let name = &deployed.graph.value(*id).name;
    for place in deployed.bytes[range.clone()].chunks_mut(4) {
        place.copy_from_slice(&0.25_f32.to_le_bytes());
    }
    let read = read(&deployed.bytes, &NoExternalData).unwrap();
    let constants = read.constants().iter();
    let mut named = constants.filter(|(id, _)| read.value(**id).name == *name);
    let (_, tensor) = named.next().unwrap();
    assert_eq!(tensor.as_f32().unwrap(), [0.25; 15]);
}
