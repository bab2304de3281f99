//! Descriptive fields and declarations of inputs and outputs are written as they were read.

use super::*;

fn entry(key: &str, value: &str) -> StringStringEntry {
    StringStringEntry {
        key: key.into(),
        value: value.into(),
    }
}

fn written(graph: &Graph) -> ModelProto {
    ModelProto::decode(&write(graph).unwrap()[..]).unwrap()
}

/// The declared sizes of an input or output: numbers, names or nothing.
fn sizes(port: &ValueInfoProto) -> Vec<String> {
    let tensor = port.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let shape = tensor.and_then(|t| t.shape.as_ref());
    let size = |d: &Dimension| match (d.dim_value, &d.dim_param) {
        (Some(n), _) => n.to_string(),
        (None, Some(name)) => name.clone(),
        (None, None) => String::from("?"),
    };
    shape.map_or_else(Vec::new, |s| s.dim.iter().map(size).collect())
}

#[test]
fn descriptive_fields_are_written_back() {
    let mut relu = node("Relu", &["x"], "y", &[]);
    relu.name = "relu".into();
    let mut model = model(11, &["batch", "3", "height", "8"], vec![relu], vec![]);
    model.ir_version = 6;
    model.producer_name = "trainer".into();
    model.producer_version = "2.1".into();
    model.domain = "org.example".into();
    model.model_version = 7;
    model.doc_string = "a network".into();
    model.metadata_props = vec![entry("classes", "a,b"), entry("mean", "0.5")];
    let graph = model.graph.as_mut().unwrap();
    graph.name = "main".into();
    graph.doc_string = "its graph".into();
    graph.metadata_props = vec![entry("k", "v")];
    graph.input[0].doc_string = "pixels".into();
    graph.output = vec![value("y", &["batch", "3", "out_height", "8"])];
    graph.output[0].metadata_props = vec![entry("unit", "none")];
    let expected = model.clone();
    let got = written(&load(&model).unwrap());
    assert_eq!(got, expected);
}

#[test]
fn sizes_without_a_name_keep_none() {
    let relu = vec![node("Relu", &["x"], "y", &[])];
    let mut model = model(13, &["N", "3", "8", "8"], relu, vec![]);
    let graph = model.graph.as_mut().unwrap();
    let tensor = graph.input[0].r#type.as_mut().unwrap();
    let shape = tensor.tensor_type.as_mut().unwrap().shape.as_mut().unwrap();
    shape.dim[0] = Dimension::default();
    let graph = written(&load(&model).unwrap()).graph.unwrap();
    assert_eq!(sizes(&graph.input[0]), ["?", "3", "8", "8"]);
    let output = graph.output[0].r#type.as_ref().unwrap();
    assert_eq!(output.tensor_type.as_ref().unwrap().shape, None);
}

/// A model at `opset` and format version `ir` must be written at the expected ones.
#[track_caller]
fn check_versions(
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
    from: [i64; 2],
    to: [i64; 2],
) {
    let mut model = model(from[0], &["N", "3", "8", "8"], nodes, constants);
    model.ir_version = from[1];
    let got = written(&settled(&model));
    assert_eq!([got.opset_import[0].version, got.ir_version], to);
}

#[test]
fn the_operator_set_rises_only_if_a_form_needs_it_and_the_format_with_it() {
    let relu = || vec![node("Relu", &["x"], "y", &[])];
    for versions in [[7, 4], [9, 4], [11, 6], [14, 7], [20, 10]] {
        check_versions(relu(), vec![], versions, versions);
    }
    check_versions(relu(), vec![], [8, 3], [8, 4]);
    let clip = vec![node(
        "Clip",
        &["x"],
        "y",
        &[float("min", 0.0), float("max", 6.0)],
    )];
    check_versions(clip, vec![], [10, 5], [10, 5]);
    let squeeze = vec![
        node("ReduceSum", &["x"], "a", &[ints("axes", &[2])]),
        node("Squeeze", &["a"], "y", &[ints("axes", &[2])]),
    ];
    check_versions(squeeze, vec![], [12, 7], [12, 7]);
    let softmax = |axis| {
        vec![
            node("GlobalAveragePool", &["x"], "a", &[]),
            node("Flatten", &["a"], "b", &[]),
            node("Softmax", &["b"], "y", &[int("axis", axis)]),
        ]
    };
    check_versions(softmax(1), vec![], [9, 4], [9, 4]);
    check_versions(softmax(-1), vec![], [11, 6], [11, 6]);
    // Scales were an attribute and are an input since opset 9.
    let resize = vec![node("Resize", &["x", "s"], "y", &[text("mode", "nearest")])];
    let scales = TensorProto {
        float_data: vec![1.0, 1.0, 2.0, 2.0],
        ..f32s("s", &[4])
    };
    check_versions(resize, vec![scales], [10, 5], [11, 6]);
}

#[test]
fn a_batch_in_a_list_of_sizes_needs_no_newer_operator_set() {
    let nodes = vec![
        node("Shape", &["x"], "s", &[]),
        node("Slice", &["s", "zero", "one"], "n", &[]),
        node("Concat", &["n", "rest"], "target", &[int("axis", 0)]),
        node("Expand", &["token", "target"], "tokens", &[]),
        node("Reshape", &["x", "rows"], "r", &[]),
        node("Concat", &["tokens", "r"], "y", &[int("axis", 1)]),
    ];
    let constants = || {
        vec![
            i64s("zero", &[0]),
            i64s("one", &[1]),
            i64s("rest", &[1, 64]),
            i64s("rows", &[0, 3, 64]),
            f32s("token", &[1, 1, 64]),
        ]
    };
    for opset in [11, 14, 17] {
        let ir = if opset < 12 { 6 } else { 8 };
        check_versions(nodes.clone(), constants(), [opset, ir], [opset, ir]);
    }
}

#[test]
fn a_node_that_another_operator_set_would_change_is_rejected_with_the_cause() {
    let nodes = vec![
        node("Resize", &["x", "s"], "a", &[]),
        node("Hardmax", &["a"], "y", &[]),
    ];
    let scales = TensorProto {
        float_data: vec![1.0, 1.0, 2.0, 2.0],
        ..f32s("s", &[4])
    };
    let graph = load(&model(10, &["N", "3", "8", "8"], nodes, vec![scales])).unwrap();
    let message = write(&graph).unwrap_err().to_string();
    for part in [
        "Hardmax",
        "operator set 10",
        "'Resize_a' (Resize)",
        "needs 11",
        "11 or later",
    ] {
        assert!(message.contains(part), "no {part} in: {message}");
    }
}

#[test]
fn a_resize_is_written_with_sizes_if_no_factor_is_exact() {
    let resize = |batch: &str| {
        let nodes = vec![
            node("Shape", &["x"], "s", &[]),
            node("Slice", &["s", "zero", "two"], "kept", &[]),
            node("Concat", &["kept", "to"], "sizes", &[int("axis", 0)]),
            node(
                "Resize",
                &["x", "", "", "sizes"],
                "y",
                &[text("mode", "nearest")],
            ),
        ];
        let constants = vec![i64s("zero", &[0]), i64s("two", &[2]), i64s("to", &[14, 6])];
        model(13, &[batch, "4", "3", "3"], nodes, constants)
    };
    let open = settled(&resize("N"));
    let Op::Resize(op) = &open.nodes()[0].op else {
        panic!("{:?}", open.nodes());
    };
    assert_eq!(op.to, ops::Extent::Sizes(vec![14, 6]));
    let kinds = |graph: &Graph| -> Vec<String> {
        let graph = written(graph).graph.unwrap();
        graph.node.iter().map(|n| n.op_type.clone()).collect()
    };
    assert_eq!(kinds(&open), ["Shape", "Slice", "Concat", "Resize"]);
    let fixed = settled(&resize("2"));
    assert_eq!(kinds(&fixed), ["Resize"]);
    let sizes = written(&fixed).graph.unwrap().initializer;
    let raw = sizes[0].raw_data.as_ref().unwrap();
    let numbers: Vec<i64> = raw
        .chunks_exact(8)
        .map(|b| i64::from_le_bytes(b.try_into().unwrap()))
        .collect();
    assert_eq!(numbers, [2, 4, 14, 6]);
}
