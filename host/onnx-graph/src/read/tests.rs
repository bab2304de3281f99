//! Forms of files that reading resolves, and malformed files.

mod batch;
mod branches;
mod folding;
mod functions;
mod halves;
mod integers;
mod interface;
mod sparse;
mod training;
mod versions;

use prost::Message;

use super::*;
use crate::Tensor;
use crate::external::NoExternalData;
use crate::ops::{self, Op};
use crate::proto::*;
use crate::value::Dim;
use crate::write;

fn value(name: &str, dims: &[&str]) -> ValueInfoProto {
    let dim = |d: &&str| match d.parse() {
        Ok(n) => Dimension {
            dim_value: Some(n),
            ..Dimension::default()
        },
        Err(_) => Dimension {
            dim_param: Some((*d).to_owned()),
            ..Dimension::default()
        },
    };
    let shape = Some(TensorShapeProto {
        dim: dims.iter().map(dim).collect(),
    });
    let tensor_type = Some(TensorType {
        elem_type: 1,
        shape,
    });
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            tensor_type,
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn ints(name: &str, v: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        ints: v.to_vec(),
        r#type: 7,
        ..AttributeProto::default()
    }
}

fn int(name: &str, v: i64) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        i: Some(v),
        r#type: 2,
        ..AttributeProto::default()
    }
}

fn float(name: &str, v: f32) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        f: Some(v),
        r#type: 1,
        ..AttributeProto::default()
    }
}

fn text(name: &str, v: &str) -> AttributeProto {
    AttributeProto {
        name: name.into(),
        s: Some(v.into()),
        r#type: 3,
        ..AttributeProto::default()
    }
}

fn i64s(name: &str, v: &[i64]) -> TensorProto {
    let dims = vec![v.len() as i64];
    TensorProto {
        dims,
        data_type: 7,
        int64_data: v.to_vec(),
        name: name.into(),
        ..TensorProto::default()
    }
}

fn scalar(name: &str, v: i64) -> TensorProto {
    TensorProto {
        dims: vec![],
        ..i64s(name, &[v])
    }
}

fn f32s(name: &str, dims: &[i64]) -> TensorProto {
    let count = dims.iter().product::<i64>();
    let float_data = (0..count).map(|v| v as f32 + 1.0).collect();
    TensorProto {
        dims: dims.to_vec(),
        data_type: 1,
        float_data,
        name: name.into(),
        ..TensorProto::default()
    }
}

fn node(op: &str, inputs: &[&str], output: &str, attribute: &[AttributeProto]) -> NodeProto {
    NodeProto {
        op_type: op.into(),
        input: inputs.iter().map(|&i| i.into()).collect(),
        output: output.split(' ').map(str::to_owned).collect(),
        attribute: attribute.to_vec(),
        ..NodeProto::default()
    }
}

fn model(
    opset: i64,
    dims: &[&str],
    node: Vec<NodeProto>,
    initializer: Vec<TensorProto>,
) -> ModelProto {
    let input = vec![value("x", dims)];
    let output = vec![value("y", &[])];
    let output = output.into_iter().map(|mut v| {
        if let Some(t) = v.r#type.as_mut().and_then(|t| t.tensor_type.as_mut()) {
            t.shape = None;
        }
        v
    });
    let graph = GraphProto {
        node,
        initializer,
        input,
        output: output.collect(),
        ..GraphProto::default()
    };
    let opset_import = vec![OperatorSetId {
        domain: String::new(),
        version: opset,
    }];
    ModelProto {
        ir_version: 8,
        graph: Some(graph),
        opset_import,
        ..ModelProto::default()
    }
}

fn load(model: &ModelProto) -> Result<Graph, GraphError> {
    read(&model.encode_to_vec(), &NoExternalData)
}

/// Reads `model`, which must be stable: written and read again it is the same network.
#[track_caller]
fn settled(model: &ModelProto) -> Graph {
    let graph = load(model).unwrap();
    let back = read(&write(&graph).unwrap(), &NoExternalData).unwrap();
    graph.same_network(&back).unwrap();
    graph
}

/// The node `op` from `x` to `y` must be read as `expected`.
#[track_caller]
fn check(
    opset: i64,
    dims: &[&str],
    proto: NodeProto,
    constants: Vec<TensorProto>,
    expected: impl Into<Op>,
) {
    let graph = settled(&model(opset, dims, vec![proto], constants));
    let [node] = graph.nodes() else {
        panic!("{:?}", graph.nodes())
    };
    assert_eq!(node.op, expected.into());
}

#[test]
fn forms_of_older_operator_sets_are_resolved() {
    let image = ["N", "3", "8", "8"];
    let bounds = [float("min", 0.0), float("max", 6.0)];
    check(
        6,
        &image,
        node("Clip", &["x"], "y", &bounds),
        vec![],
        ops::Clip {
            min: Some(0.0),
            max: Some(6.0),
        },
    );
    let slice = [ints("starts", &[1]), ints("ends", &[3]), ints("axes", &[1])];
    let expected = ops::Slice {
        starts: vec![1],
        ends: vec![3],
        axes: vec![1],
        steps: vec![1],
    };
    check(
        9,
        &image,
        node("Slice", &["x"], "y", &slice),
        vec![],
        expected,
    );
    let pads = [
        ints("pads", &[0, 1, 0, 0, 0, 2, 0, 0]),
        text("mode", "constant"),
        float("value", 2.0),
    ];
    let expected = ops::Pad {
        pads: vec![0, 1, 0, 0, 0, 2, 0, 0],
        mode: ops::PadMode::Constant,
        value: 2.0,
    };
    check(8, &image, node("Pad", &["x"], "y", &pads), vec![], expected);
    let mean = ops::ReduceMean {
        axes: vec![2, 3],
        keepdims: false,
    };
    check(
        11,
        &image,
        node(
            "ReduceMean",
            &["x"],
            "y",
            &[ints("axes", &[2, 3]), int("keepdims", 0)],
        ),
        vec![],
        mean.clone(),
    );
    check(
        18,
        &image,
        node("ReduceMean", &["x", "a"], "y", &[int("keepdims", 0)]),
        vec![i64s("a", &[2, 3])],
        mean,
    );
    let lone = ["N", "3", "1", "1"];
    check(
        11,
        &lone,
        node("Squeeze", &["x"], "y", &[ints("axes", &[2])]),
        vec![],
        ops::Squeeze { axes: vec![2] },
    );
    check(
        11,
        &lone,
        node("Squeeze", &["x"], "y", &[]),
        vec![],
        ops::Squeeze { axes: vec![2, 3] },
    );
    check(
        8,
        &lone,
        node("Unsqueeze", &["x"], "y", &[ints("axes", &[0])]),
        vec![],
        ops::Unsqueeze { axes: vec![0] },
    );
    check(
        8,
        &image,
        node("Softmax", &["x"], "y", &[int("axis", 3)]),
        vec![],
        ops::Softmax { axis: 3 },
    );
    check(
        10,
        &image,
        node("Dropout", &["x"], "y mask", &[float("ratio", 0.3)]),
        vec![],
        ops::Dropout,
    );
    let pads = vec![
        i64s("p", &[1, 2]),
        TensorProto {
            dims: vec![],
            ..f32s("v", &[1])
        },
        i64s("a", &[-1]),
    ];
    let expected = ops::Pad {
        pads: vec![0, 0, 0, 1, 0, 0, 0, 2],
        mode: ops::PadMode::Constant,
        value: 1.0,
    };
    check(
        18,
        &image,
        node("Pad", &["x", "p", "v", "a"], "y", &[]),
        pads,
        expected,
    );
    check(
        17,
        &image,
        node("Transpose", &["x"], "y", &[]),
        vec![],
        ops::Transpose {
            perm: vec![3, 2, 1, 0],
        },
    );
}

#[test]
fn automatic_padding_becomes_explicit() {
    for (auto, stride, expected) in [
        ("SAME_UPPER", 1, [1, 1, 1, 1]),
        ("SAME_UPPER", 2, [0, 0, 1, 1]),
        ("SAME_LOWER", 2, [1, 1, 0, 0]),
        ("VALID", 2, [0, 0, 0, 0]),
    ] {
        let attributes = [text("auto_pad", auto), ints("strides", &[stride; 2])];
        let proto = node("Conv", &["x", "w"], "y", &attributes);
        let stride = usize::try_from(stride).unwrap();
        let expected = ops::Conv {
            kernel: vec![3; 2],
            strides: vec![stride; 2],
            pads: expected.to_vec(),
            dilations: vec![1; 2],
            group: 1,
        };
        check(
            17,
            &["N", "3", "8", "8"],
            proto,
            vec![f32s("w", &[4, 3, 3, 3])],
            expected,
        );
    }
}

#[test]
fn shape_arithmetic_of_an_open_batch_folds_into_the_reshape() {
    let nodes = vec![
        node("Shape", &["x"], "s", &[]),
        node("Gather", &["s", "zero"], "n", &[]),
        node("Gather", &["s", "one"], "c", &[]),
        node("Div", &["c", "two"], "half", &[]),
        node("Unsqueeze", &["n", "axis"], "n1", &[]),
        node("Unsqueeze", &["half", "axis"], "h1", &[]),
        node(
            "Concat",
            &["n1", "groups", "h1", "rest"],
            "target",
            &[int("axis", 0)],
        ),
        node("Reshape", &["x", "target"], "r", &[]),
        node("Transpose", &["r"], "t", &[ints("perm", &[0, 2, 1, 3, 4])]),
        node("Slice", &["s", "from", "to"], "hw", &[]),
        node("Concat", &["n1", "minus", "hw"], "back", &[int("axis", 0)]),
        node("Reshape", &["t", "back"], "y", &[]),
    ];
    let constants = vec![
        scalar("zero", 0),
        scalar("one", 1),
        scalar("two", 2),
        i64s("axis", &[0]),
        i64s("groups", &[2]),
        i64s("rest", &[4, 4]),
        i64s("from", &[2]),
        i64s("to", &[4]),
        i64s("minus", &[-1]),
    ];
    let graph = settled(&model(17, &["N", "6", "4", "4"], nodes, constants));
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["Reshape", "Transpose", "Reshape"]);
    let Op::Reshape(first) = &graph.nodes()[0].op else {
        panic!()
    };
    assert_eq!(first.target, [0, 2, 3, 4, 4]);
    let expected = [
        Dim::Symbol("N".into()),
        Dim::Known(6),
        Dim::Known(4),
        Dim::Known(4),
    ];
    assert_eq!(
        graph.value(graph.outputs()[0]).shape.as_deref(),
        Some(&expected[..])
    );
    assert!(graph.constants().is_empty());
}

#[test]
fn the_padding_that_exporters_compute_folds() {
    let nodes = vec![
        node(
            "ConstantOfShape",
            &["four"],
            "zeros",
            &[AttributeProto {
                name: "value".into(),
                t: Some(i64s("", &[0])),
                r#type: 4,
                ..AttributeProto::default()
            }],
        ),
        node("Concat", &["given", "zeros"], "all", &[int("axis", 0)]),
        node("Reshape", &["all", "pairs"], "two", &[]),
        node(
            "Slice",
            &["two", "last", "first", "axis", "back"],
            "turned",
            &[],
        ),
        node(
            "Transpose",
            &["turned"],
            "columns",
            &[ints("perm", &[1, 0])],
        ),
        node("Reshape", &["columns", "flat"], "list", &[]),
        node("Cast", &["list"], "pads", &[int("to", 7)]),
        node("Pad", &["x", "pads"], "y", &[]),
    ];
    let constants = vec![
        i64s("four", &[4]),
        i64s("given", &[1, 2, 3, 4]),
        i64s("pairs", &[-1, 2]),
        i64s("last", &[-1]),
        i64s("first", &[i64::MIN]),
        i64s("axis", &[0]),
        i64s("back", &[-1]),
        i64s("flat", &[-1]),
    ];
    let graph = settled(&model(17, &["N", "3", "4", "4"], nodes, constants));
    let [node] = graph.nodes() else {
        panic!("{:?}", graph.nodes())
    };
    let Op::Pad(pad) = &node.op else {
        panic!("{node:?}")
    };
    assert_eq!(pad.pads, [0, 0, 3, 1, 0, 0, 4, 2]);
}

#[test]
fn shared_batch_norm_parameters_are_copied_and_other_sharing_stays() {
    let nodes = vec![
        node("Identity", &["ones"], "mean", &[]),
        node("Conv", &["x", "w"], "a", &[]),
        node(
            "BatchNormalization",
            &["a", "ones", "ones", "mean", "ones"],
            "b",
            &[],
        ),
        node("Conv", &["b", "w"], "c", &[]),
        node(
            "BatchNormalization",
            &["c", "ones", "ones", "mean", "ones"],
            "y e f",
            &[int("training_mode", 1)],
        ),
    ];
    let constants = vec![f32s("ones", &[3]), f32s("w", &[3, 3, 1, 1])];
    let graph = settled(&model(17, &["N", "3", "4", "4"], nodes, constants));
    assert_eq!(graph.nodes().len(), 4);
    let norms = graph
        .nodes()
        .iter()
        .filter(|n| n.op.name() == "BatchNormalization");
    let mut parameters: Vec<_> = norms
        .flat_map(|n| n.inputs[1..].iter().flatten().copied())
        .collect();
    parameters.sort();
    parameters.dedup();
    assert_eq!(parameters.len(), 8);
    assert_eq!(graph.nodes()[0].input(1), graph.nodes()[2].input(1));
}

#[test]
fn a_bias_of_several_layers_is_copied_and_one_of_a_layer_used_twice_is_not() {
    let nodes = vec![
        node("Conv", &["x", "v", "zeros"], "a", &[]),
        node("Conv", &["a", "w", "zeros"], "b", &[]),
        node("Conv", &["b", "w", "zeros"], "y", &[]),
    ];
    let constants = vec![
        f32s("zeros", &[3]),
        f32s("v", &[3, 3, 1, 1]),
        f32s("w", &[3, 3, 1, 1]),
    ];
    let graph = settled(&model(17, &["N", "3", "4", "4"], nodes, constants));
    let biases: Vec<_> = graph.nodes().iter().map(|n| n.input(2)).collect();
    assert_ne!(biases[0], biases[1]);
    assert_eq!(biases[1], biases[2]);
}

#[test]
fn a_small_file_cannot_create_many_copies_of_a_large_list() {
    let count = 600;
    let mut nodes = Vec::new();
    for i in 0..count {
        let (from, to) = (format!("v{i}"), format!("v{}", i + 1));
        let from = if i == 0 { "x".to_owned() } else { from };
        let to = if i + 1 == count { "y".to_owned() } else { to };
        nodes.push(node("Add", &[&from, "long"], &to, &[]));
    }
    let constants = vec![f32s("long", &[4096])];
    let graph = settled(&model(17, &["N", "3", "4", "4096"], nodes, constants));
    let held: usize = graph.constants().values().map(Tensor::len).sum();
    assert!(held <= 3 * 4096 + (1 << 20), "{held}");
}

#[test]
fn nodes_out_of_order_are_sorted_and_relaid_weights_become_constants() {
    let nodes = vec![
        node("MatMul", &["flat", "m"], "y", &[]),
        node("Reshape", &["w", "to"], "m", &[]),
        node("Flatten", &["x"], "flat", &[]),
    ];
    let graph = settled(&model(
        17,
        &["N", "2", "2", "2"],
        nodes,
        vec![f32s("w", &[2, 2, 2, 5]), i64s("to", &[8, 5])],
    ));
    let names: Vec<&str> = graph.nodes().iter().map(|n| n.op.name()).collect();
    assert_eq!(names, ["Flatten", "MatMul"]);
    assert_eq!(graph.constants().values().next().unwrap().dims(), [8, 5]);
}

#[test]
fn a_computed_attribute_keeps_the_node_opaque() {
    let nodes = vec![
        node("Cast", &["x"], "i", &[int("to", 7)]),
        node("Reshape", &["x", "i"], "y", &[]),
        node("Relu", &["x"], "unread", &[]),
    ];
    let graph = settled(&model(17, &["4"], nodes, vec![]));
    assert!(matches!(&graph.nodes()[1].op, Op::Opaque(op) if op.op_type == "Reshape"));
    assert_eq!(graph.nodes().len(), 2);
}

#[test]
fn a_node_without_inputs_is_kept() {
    let nodes = vec![
        node("RandomNormal", &[], "noise", &[]),
        node("Add", &["x", "noise"], "y", &[]),
    ];
    assert_eq!(
        settled(&model(17, &["N", "3"], nodes, vec![]))
            .nodes()
            .len(),
        2
    );
}

#[test]
fn an_initialiser_listed_among_the_inputs_is_a_constant() {
    let mut m = model(
        8,
        &["N", "3"],
        vec![node("Add", &["x", "b"], "y", &[])],
        vec![f32s("b", &[3])],
    );
    m.graph.as_mut().unwrap().input.push(value("b", &["3"]));
    let graph = settled(&m);
    assert_eq!((graph.inputs().len(), graph.constants().len()), (1, 1));
}

/// Reads a node that resizes by `scales`, an attribute before opset 9.
#[track_caller]
fn check_first_resize(opset: i64, op: &str, scales: [f32; 2], rounding: ops::Rounding) {
    let all = vec![1.0, 1.0, scales[0], scales[1]];
    let attribute = AttributeProto {
        name: "scales".into(),
        floats: all.clone(),
        r#type: 6,
        ..AttributeProto::default()
    };
    let input = TensorProto {
        float_data: all,
        ..f32s("s", &[4])
    };
    let proto = if opset < 9 {
        node(op, &["x"], "y", &[attribute])
    } else {
        node(op, &["x", "s"], "y", &[])
    };
    let expected = ops::Resize {
        to: ops::Extent::Scales(scales.to_vec()),
        mode: ops::ResizeMode::Nearest(rounding),
        coordinates: ops::Coordinates::Asymmetric,
    };
    check(opset, &["N", "3", "10", "10"], proto, vec![input], expected);
}

#[test]
fn an_old_resize_rounds_down_where_it_grows_and_up_where_it_shrinks() {
    use ops::Rounding::{Ceil, Floor};
    check_first_resize(7, "Upsample", [2.0, 1.5], Floor);
    check_first_resize(9, "Upsample", [1.7, 1.0], Floor);
    check_first_resize(10, "Resize", [2.0, 2.0], Floor);
    check_first_resize(10, "Resize", [0.6, 1.0], Ceil);
}

#[test]
fn an_obsolete_operator_stays_in_its_operator_set() {
    let hardmax = vec![node("Hardmax", &["x"], "y", &[])];
    let graph = settled(&model(9, &["N", "3", "4", "4"], hardmax, vec![]));
    let written = ModelProto::decode(&write(&graph).unwrap()[..]).unwrap();
    assert_eq!(written.opset_import[0].version, 9);
}

#[test]
fn broken_models_give_errors_that_name_the_place() {
    let relu = |i: &'static str, o: &'static str| node("Relu", &[i], o, &[]);
    let with = |nodes: Vec<NodeProto>, constants: Vec<TensorProto>| {
        model(17, &["N", "3", "4", "4"], nodes, constants)
    };
    let conv = |attributes: &[AttributeProto]| {
        with(
            vec![node("Conv", &["x", "w"], "y", attributes)],
            vec![f32s("w", &[1, 3, 1, 1])],
        )
    };
    let huge = TensorProto {
        dims: vec![i64::MAX, i64::MAX],
        ..f32s("w", &[1])
    };
    let negative = TensorProto {
        dims: vec![-1],
        ..f32s("w", &[1])
    };
    let short = TensorProto {
        dims: vec![7],
        ..f32s("w", &[1])
    };
    let away = TensorProto {
        data_location: 1,
        external_data: vec![StringStringEntry {
            key: "location".into(),
            value: "../../secret".into(),
        }],
        ..f32s("w", &[1])
    };
    let sub = GraphProto {
        node: vec![node("Relu", &["nowhere"], "z", &[])],
        ..GraphProto::default()
    };
    let capture = AttributeProto {
        name: "then".into(),
        g: Some(sub.encode_to_vec()),
        r#type: 5,
        ..AttributeProto::default()
    };
    let cases = [
        (
            with(vec![relu("b", "a"), relu("a", "b"), relu("a", "y")], vec![]),
            "waits for itself",
        ),
        (
            with(vec![relu("x", "y"), relu("x", "y")], vec![]),
            "'y' is produced twice",
        ),
        (with(vec![relu("nowhere", "y")], vec![]), "'nowhere'"),
        (with(vec![], vec![]), "'y'"),
        (
            with(vec![relu("x", "y"), node("Relu", &["x"], "", &[])], vec![]),
            "no output",
        ),
        (
            with(vec![node("Relu", &["x", "x"], "y", &[])], vec![]),
            "2 inputs",
        ),
        (with(vec![node("Relu", &[], "y", &[])], vec![]), "0 inputs"),
        (
            with(vec![relu("x", "y")], vec![f32s("w", &[1]), f32s("w", &[1])]),
            "'w'",
        ),
        (with(vec![relu("x", "y")], vec![huge]), "'w'"),
        (with(vec![relu("x", "y")], vec![negative]), "negative"),
        (with(vec![relu("x", "y")], vec![short]), "'w'"),
        (
            with(vec![relu("x", "y")], vec![away]),
            "leaves the model's folder",
        ),
        (
            with(vec![node("If", &["x"], "y", &[capture])], vec![]),
            "'nowhere'",
        ),
        (conv(&[ints("strides", &[0, 1])]), "strides"),
        (conv(&[ints("pads", &[-1, 0, 0, 0])]), "pads"),
        (conv(&[ints("pads", &[0])]), "pads"),
        (conv(&[int("group", 0)]), "0 groups"),
        (conv(&[int("group", 2)]), "groups"),
        (conv(&[int("kernel_shape", 1)]), "kernel_shape"),
        (conv(&[text("auto_pad", "ODD")]), "ODD"),
        (conv(&[int("group", 1), int("group", 1)]), "twice"),
        (conv(&[ints("dilations", &[i64::MAX, 1])]), "dilations"),
    ];
    for (model, word) in cases {
        let error = load(&model).expect_err(word).to_string();
        assert!(error.contains(word), "'{error}' does not say '{word}'");
    }
    assert!(matches!(
        read(b"hello", &NoExternalData),
        Err(GraphError::Decode { .. })
    ));
    assert!(matches!(
        read(b"", &NoExternalData),
        Err(GraphError::Decode { .. })
    ));
}

#[test]
fn external_tensors_come_from_the_caller() {
    struct Folder;
    impl ExternalData for Folder {
        fn load(&self, location: &str, offset: u64, length: u64) -> Result<Vec<u8>, String> {
            assert_eq!((location, offset, length), ("w.bin", 8, 12));
            Ok([1f32, 2.0, 3.0]
                .iter()
                .flat_map(|v| v.to_le_bytes())
                .collect())
        }
    }
    let entry = |key: &str, value: &str| StringStringEntry {
        key: key.into(),
        value: value.into(),
    };
    let b = TensorProto {
        float_data: vec![],
        data_location: 1,
        external_data: vec![
            entry("location", "w.bin"),
            entry("offset", "8"),
            entry("length", "12"),
        ],
        ..f32s("b", &[3])
    };
    let m = model(
        17,
        &["N", "3"],
        vec![node("Add", &["x", "b"], "y", &[])],
        vec![b],
    );
    let graph = read(&m.encode_to_vec(), &Folder).unwrap();
    assert_eq!(
        graph.constants().values().next().unwrap().as_f32().unwrap(),
        [1.0, 2.0, 3.0]
    );
    assert!(matches!(load(&m), Err(GraphError::ExternalData { tensor, .. }) if tensor == "b"));
}
