//! Patches are applied as a whole or not at all.

use onnx_graph::ops::{Conv, Flatten, Gemm, Mul, Relu};
use onnx_graph::{
    DType, Dim, Graph, GraphError, Patch, Tensor, Wire, cost, fold_batch_norm, insert_batch_norm,
};

fn graph() -> Graph {
    let mut graph = Graph::new("g", 17);
    let x = graph.add_input(
        "x",
        DType::F32,
        vec![
            Dim::Symbol("N".into()),
            Dim::Known(2),
            Dim::Known(4),
            Dim::Known(4),
        ],
    );
    let w = graph.add_constant("w", Tensor::f32([3, 2, 3, 3], vec![0.5; 54]).unwrap());
    let conv = Conv {
        kernel: vec![3; 2],
        strides: vec![1; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
    };
    let y = graph.push("conv", conv.into(), &[x, w]).unwrap();
    let y = graph.push("relu", Relu.into(), &[y]).unwrap();
    let y = graph
        .push("flat", Flatten { axis: 1 }.into(), &[y])
        .unwrap();
    let fc = graph.add_constant("fc_w", Tensor::f32([5, 48], vec![0.1; 240]).unwrap());
    let y = graph
        .push(
            "fc",
            Gemm {
                trans_b: true,
                ..Gemm::default()
            }
            .into(),
            &[y, fc],
        )
        .unwrap();
    graph.add_output(y);
    graph.check().unwrap();
    graph
}

#[test]
fn a_replacement_is_placed_behind_its_inputs_and_before_its_readers() {
    let mut graph = graph();
    let conv = graph.find_value("conv_out").unwrap();
    let mut patch = Patch::new("conv");
    let mask = patch.constant("mask", Tensor::f32([3, 1, 1], vec![1.0, 0.0, 1.0]).unwrap());
    let masked = patch.node("masked", Mul, &[conv.into(), mask]);
    patch.replace(conv, masked);
    graph.apply(patch).unwrap();
    graph.check().unwrap();
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["conv", "masked", "relu", "flat", "fc"]);
    assert_eq!(graph.nodes()[1].input(0), Some(conv));
    assert_eq!(graph.nodes()[2].input(0), Some(graph.nodes()[1].output()));
}

#[test]
fn a_replaced_output_keeps_its_name() {
    let mut graph = graph();
    let out = graph.outputs()[0];
    let name = graph.value(out).name.clone();
    let mut patch = Patch::new("fc");
    let new = patch.node("after", Relu, &[out.into()]);
    patch.replace(out, new);
    graph.apply(patch).unwrap();
    graph.check().unwrap();
    assert_eq!(graph.value(graph.outputs()[0]).name, name);
    assert_eq!(graph.find_value(&name), Some(graph.outputs()[0]));
}

#[test]
fn a_patch_that_does_not_fit_leaves_the_graph_unchanged() {
    let before = graph();
    let conv = before.find_value("conv_out").unwrap();
    let flat = before.find_value("flat_out").unwrap();
    let mut wrong_shape = Patch::new("conv");
    let new = wrong_shape.node("new", Flatten { axis: 1 }, &[conv.into()]);
    wrong_shape.replace(conv, new);
    let mut circle = Patch::new("conv");
    let new = circle.node(
        "new",
        Relu,
        &[before.find_value("relu_out").unwrap().into()],
    );
    circle.replace(conv, new);
    let mut unknown = Patch::new("conv");
    unknown.node("new", Relu, &[Wire::New(3)]);
    let mut misfit = Patch::new("conv");
    let mask = misfit.constant("mask", Tensor::f32([7], vec![1.0; 7]).unwrap());
    misfit.node("new", Mul, &[flat.into(), mask]);
    for (patch, shape) in [
        (wrong_shape, false),
        (circle, false),
        (unknown, false),
        (misfit, true),
    ] {
        let mut graph = before.clone();
        match graph.apply(patch) {
            Err(GraphError::Patch { node, .. }) if !shape => assert_eq!(node, "conv"),
            Err(GraphError::Shape { node, .. }) if shape => assert_eq!(node, "new"),
            other => panic!("{other:?}"),
        }
        assert_eq!(graph, before);
        assert_eq!(graph.find_value("new_out"), None);
    }
}

#[test]
fn inserting_and_folding_a_norm_keeps_the_weights_and_adds_a_bias() {
    let graph = graph();
    let (normed, inserted) = insert_batch_norm(&graph).unwrap();
    assert_eq!(inserted.len(), 1);
    assert_eq!(inserted[0].conv, "conv");
    let folded = fold_batch_norm(&normed).unwrap();
    let weight = folded.find_value("w").unwrap();
    let data = folded.constant(weight).unwrap().as_f32().unwrap();
    assert!(data.iter().all(|v| (v - 0.5).abs() < 1e-6));
    let bias = folded.constant_input(&folded.nodes()[0], 2).unwrap();
    assert!(bias.as_f32().unwrap().iter().all(|v| *v == 0.0));
}

#[test]
fn costs_are_those_of_one_image_whatever_the_batch() {
    let costs = cost::costs(&graph());
    assert_eq!(costs.macs, 16 * 3 * 18 + 240);
    assert_eq!(costs.parameters, 54 + 240);
    assert_eq!(costs.activation_bytes, 4 * (48 + 48 + 48 + 5));
    assert!(costs.uncounted.is_empty());
}

#[test]
fn removing_dead_nodes_keeps_value_ids_and_drops_their_constants() {
    let mut graph = graph();
    let conv = graph.find_value("conv_out").unwrap();
    let extra = graph.add_constant("extra", Tensor::scalar(2.0));
    graph.push("unread", Mul.into(), &[conv, extra]).unwrap();
    let before = graph.values().len();
    graph.remove_dead();
    graph.check().unwrap();
    assert_eq!((graph.nodes().len(), graph.values().len()), (4, before));
    assert_eq!(graph.constant(extra), None);
}
