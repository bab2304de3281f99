//! Operators on integers with scales: what they are read as.

use super::*;

fn constant(name: &str, data_type: i32, values: &[i32]) -> TensorProto {
    TensorProto {
        dims: vec![values.len() as i64],
        data_type,
        int32_data: values.to_vec(),
        name: name.into(),
        ..TensorProto::default()
    }
}

fn scale(name: &str, values: &[f32]) -> TensorProto {
    TensorProto {
        dims: vec![values.len() as i64],
        data_type: 1,
        float_data: values.to_vec(),
        name: name.into(),
        ..TensorProto::default()
    }
}

const U8: i32 = 2;
const I8: i32 = 3;

/// The network of `operator` between a quantised input `q` and the floats of its output `r`.
fn between(operator: NodeProto, more: Vec<TensorProto>) -> crate::Graph {
    let mut constants = vec![scale("xs", &[0.5]), constant("xz", U8, &[3])];
    constants.extend(more);
    let nodes = vec![
        node("QuantizeLinear", &["x", "xs", "xz"], "q", &[]),
        operator,
        node("DequantizeLinear", &["r", "xs", "xz"], "y", &[]),
    ];
    let bytes = model(17, &["N", "4"], nodes, constants).encode_to_vec();
    crate::read(&bytes, &NoExternalData).expect("it reads")
}

#[test]
fn a_product_has_its_scales_along_the_last_axis() {
    let weights = TensorProto {
        dims: vec![4, 4],
        ..constant("w", I8, &(0..16).collect::<Vec<_>>())
    };
    let inputs = ["q", "xs", "xz", "w", "ws", "wz", "xs", "xz"];
    let product = node("QLinearMatMul", &inputs, "r", &[]);
    let scales = scale("ws", &[1.0, 2.0, 3.0, 4.0]);
    let zeros = constant("wz", I8, &[0; 4]);
    let graph = between(product, vec![weights, scales, zeros]);
    let stored = graph.constants().values().find_map(Tensor::stored);
    assert_eq!(stored.expect("integers").scaling.axis, Some(1));
    let weights = graph.constants().values().find(|t| t.stored().is_some());
    let row = &weights.expect("integers").as_f32().expect("floats")[4..8];
    assert_eq!(row, [4.0, 10.0, 18.0, 28.0]);
}

#[test]
fn a_softmax_is_read_in_floats_only_if_it_works_along_one_axis() {
    let softmax = |attributes: &[AttributeProto]| NodeProto {
        domain: "com.microsoft".into(),
        ..node(
            "QLinearSoftmax",
            &["q", "xs", "xz", "xs", "xz"],
            "r",
            attributes,
        )
    };
    let typed = ["DequantizeLinear", "Softmax", "QuantizeLinear"];
    for (attributes, is_typed) in [
        (vec![int("axis", 1), int("opset", 13)], true),
        (vec![int("axis", 1), int("opset", 12)], false),
        (vec![int("opset", 13)], false),
        (vec![], false),
    ] {
        let graph = between(softmax(&attributes), Vec::new());
        let found: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
        let has = typed.iter().all(|name| found.contains(name));
        let kept = found.contains(&"QLinearSoftmax");
        assert_eq!(
            (has && !kept, kept),
            (is_typed, !is_typed),
            "{attributes:?}: {found:?}"
        );
    }
}

#[test]
fn weights_in_floats_behind_which_a_quantiser_left_both_operators_are_stored_as_integers() {
    let weights = TensorProto {
        dims: vec![4, 4],
        ..scale("w", &[0.9, 2.0, 3.3, -9.0].repeat(4))
    };
    let constants = vec![
        weights,
        scale("ws", &[1.0, 2.0, 3.0, 4.0]),
        constant("wz", I8, &[0; 4]),
    ];
    let by_row = [int("axis", 0)];
    let nodes = vec![
        node("QuantizeLinear", &["w", "ws", "wz"], "wq", &by_row),
        node("DequantizeLinear", &["wq", "ws", "wz"], "wd", &by_row),
        node("MatMul", &["x", "wd"], "y", &[]),
    ];
    let bytes = model(17, &["N", "4"], nodes, constants).encode_to_vec();
    let graph = crate::read(&bytes, &NoExternalData).expect("it reads");
    assert_eq!(graph.nodes().len(), 1, "the product alone is left");
    let weights = graph.constants().values().find_map(Tensor::stored);
    let weights = weights.expect("integers");
    assert_eq!(weights.scaling.axis, Some(0));
    let integers = weights.integers.to_i32s().expect("integers");
    assert_eq!(integers[..4], [1, 2, 3, -9]);
    assert_eq!(integers[4..8], [0, 1, 2, -4]);
}
