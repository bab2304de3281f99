//! Nodes in training mode are read in their inference form, and named.

use super::*;

/// The nodes of a model that are in training mode.
#[track_caller]
fn check_training(opset: i64, nodes: Vec<NodeProto>, expected: &[&str]) {
    let constants = vec![
        f32s("ones", &[3]),
        f32s("half", &[]),
        TensorProto {
            float_data: vec![0.0],
            ..f32s("nothing", &[])
        },
        flag("yes", true),
        flag("no", false),
    ];
    let graph = load(&model(opset, &["N", "3", "8", "8"], nodes, constants)).unwrap();
    assert_eq!(graph.training(), expected);
    let again = read(&write(&graph).unwrap(), &NoExternalData).unwrap();
    assert!(
        again.training().is_empty(),
        "what is written is at inference"
    );
}

fn flag(name: &str, value: bool) -> TensorProto {
    TensorProto {
        data_type: 9,
        int32_data: vec![i32::from(value)],
        float_data: vec![],
        ..f32s(name, &[])
    }
}

fn norm(outputs: &str, attributes: &[AttributeProto]) -> Vec<NodeProto> {
    let inputs = ["x", "ones", "ones", "ones", "ones"];
    vec![node("BatchNormalization", &inputs, outputs, attributes)]
}

#[test]
fn a_batch_normalisation_by_the_batch_is_named() {
    let name = ["BatchNormalization_y"];
    check_training(14, norm("y", &[int("training_mode", 1)]), &name);
    check_training(17, norm("y mean var", &[int("training_mode", 1)]), &name);
    check_training(17, norm("y", &[int("training_mode", 0)]), &[]);
    check_training(17, norm("y", &[]), &[]);
    check_training(12, norm("y a b c d", &[]), &name);
    check_training(9, norm("y a b", &[]), &name);
    check_training(9, norm("y", &[]), &[]);
    check_training(6, norm("y", &[int("is_test", 1)]), &[]);
    check_training(6, norm("y", &[int("is_test", 0)]), &name);
    check_training(6, norm("y", &[]), &name);
}

#[test]
fn a_dropout_that_drops_is_named() {
    let name = ["Dropout_y"];
    let dropout = |inputs: &[&str], attributes: &[AttributeProto]| {
        vec![node("Dropout", inputs, "y", attributes)]
    };
    check_training(13, dropout(&["x", "half", "yes"], &[]), &name);
    check_training(13, dropout(&["x", "", "yes"], &[]), &name);
    check_training(13, dropout(&["x", "half", "no"], &[]), &[]);
    check_training(13, dropout(&["x", "nothing", "yes"], &[]), &[]);
    check_training(12, dropout(&["x"], &[]), &[]);
    check_training(10, dropout(&["x"], &[float("ratio", 0.5)]), &[]);
    check_training(6, dropout(&["x"], &[int("is_test", 0)]), &name);
    check_training(6, dropout(&["x"], &[]), &name);
    check_training(6, dropout(&["x"], &[int("is_test", 1)]), &[]);
    // The mode is computed.
    let computed = vec![
        node("ReduceMax", &["x"], "m", &[int("keepdims", 0)]),
        node("Greater", &["m", "half"], "mode", &[]),
        node("Dropout", &["x", "half", "mode"], "y", &[]),
    ];
    check_training(13, computed, &name);
}

#[test]
fn a_node_in_training_mode_that_nothing_reads_is_not_named() {
    let mut nodes = norm("unread", &[int("training_mode", 1)]);
    nodes.push(node("Relu", &["x"], "y", &[]));
    check_training(17, nodes, &[]);
}
