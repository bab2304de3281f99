//! Forms of older operator sets.

use super::*;

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes().iter().map(|node| node.op.name()).collect()
}

#[test]
fn a_recurrent_layer_may_lie_behind_an_operator_that_is_written_in_a_newer_form() {
    let scales = TensorProto {
        float_data: vec![1.0, 1.0, 2.0, 2.0],
        ..f32s("s", &[4])
    };
    let nodes = vec![
        node("Upsample", &["x", "s"], "big", &[]),
        node(
            "ReduceMean",
            &["big"],
            "steps",
            &[ints("axes", &[2]), int("keepdims", 0)],
        ),
        node(
            "Transpose",
            &["steps"],
            "turned",
            &[ints("perm", &[2, 0, 1])],
        ),
        node("LSTM", &["turned", "w", "r"], "y", &[int("hidden_size", 5)]),
    ];
    let constants = vec![scales, f32s("w", &[1, 20, 3]), f32s("r", &[1, 20, 5])];
    let graph = settled(&model(9, &["N", "3", "4", "4"], nodes, constants));
    assert_eq!(names(&graph), ["Resize", "ReduceMean", "Transpose", "LSTM"]);
    let written = ModelProto::decode(&write(&graph).unwrap()[..]).unwrap();
    assert_eq!(written.opset_import[0].version, 11);
}

#[test]
fn a_scale_for_each_group_is_that_of_a_normalisation_of_instances() {
    let norm = || {
        node(
            "GroupNormalization",
            &["x", "s", "b"],
            "y",
            &[int("num_groups", 2)],
        )
    };
    let parameters = |count| vec![f32s("s", &[count]), f32s("b", &[count])];
    let old = model(18, &["N", "6", "4", "4"], vec![norm()], parameters(2));
    let expected = ["Reshape", "InstanceNormalization", "Reshape"];
    assert_eq!(names(&settled(&old)), expected);
    let new = model(21, &["N", "6", "4", "4"], vec![norm()], parameters(6));
    assert_eq!(names(&settled(&new)), ["GroupNormalization"]);
}
