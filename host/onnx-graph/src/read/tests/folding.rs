//! Folding of nodes over constants, and rewriting of exported forms.

use super::*;

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes().iter().map(|n| n.op.name()).collect()
}

fn filled(op: &str, inputs: &[&str], output: &str, dtype: i32, value: f32) -> NodeProto {
    let mut tensor = TensorProto {
        dims: vec![1],
        data_type: dtype,
        ..TensorProto::default()
    };
    if dtype == 1 {
        tensor.float_data = vec![value];
    } else {
        tensor.int64_data = vec![value as i64];
    }
    let value = AttributeProto {
        name: "value".into(),
        t: Some(tensor),
        r#type: 4,
        ..AttributeProto::default()
    };
    node(op, inputs, output, &[value])
}

fn floats(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        dims: dims.to_vec(),
        data_type: 1,
        float_data: data.to_vec(),
        name: name.into(),
        ..TensorProto::default()
    }
}

/// Folding must leave a single node, which adds this constant to `x`.
#[track_caller]
fn added(nodes: Vec<NodeProto>, constants: Vec<TensorProto>, dims: &[usize], data: &[f32]) {
    let nodes = nodes.into_iter();
    let nodes = nodes.chain([node("Add", &["x", "c"], "y", &[])]).collect();
    let shape: Vec<String> = dims.iter().map(usize::to_string).collect();
    let shape: Vec<&str> = shape.iter().map(String::as_str).collect();
    let graph = settled(&model(17, &shape, nodes, constants));
    assert_eq!(names(&graph), ["Add"]);
    let found = graph.constants().values().next().unwrap();
    assert_eq!(found.dims(), dims);
    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    let list = found.as_f32().unwrap();
    assert!(
        list.iter().zip(data).all(close),
        "{list:?} should be {data:?}"
    );
}

#[test]
fn the_mask_of_shifted_windows_is_folded() {
    // Rows of a 2 x 2 image are numbered by their window; the mask separates positions of
    // different windows.
    let nodes = vec![
        filled("ConstantOfShape", &["square"], "zeros", 1, 0.0),
        node("ScatterND", &["zeros", "second", "ones"], "windows", &[]),
        node("Reshape", &["windows", "flat"], "list", &[]),
        node("Unsqueeze", &["list", "axis0"], "row", &[]),
        node("Unsqueeze", &["list", "axis1"], "column", &[]),
        node("Sub", &["row", "column"], "apart", &[]),
        node("Equal", &["apart", "none"], "same", &[]),
        node("Not", &["same"], "other", &[]),
        node("Where", &["other", "far", "apart"], "c", &[]),
    ];
    let constants = vec![
        i64s("square", &[2, 2]),
        TensorProto {
            dims: vec![1, 1],
            ..i64s("second", &[-1])
        },
        floats("ones", &[1, 2], &[1.0, 1.0]),
        i64s("flat", &[-1]),
        i64s("axis0", &[0]),
        i64s("axis1", &[1]),
        floats("none", &[], &[0.0]),
        floats("far", &[], &[-100.0]),
    ];
    let (o, m) = (0.0, -100.0);
    let expected = [o, o, m, m, o, o, m, m, m, m, o, o, m, m, o, o];
    added(nodes, constants, &[4, 4], &expected);
}

#[test]
fn tables_from_a_small_network_over_constants_are_folded() {
    let nodes = vec![
        node("MatMul", &["places", "w"], "hidden", &[]),
        node("Relu", &["hidden"], "positive", &[]),
        node("Sigmoid", &["positive"], "share", &[]),
        node("Gather", &["share", "index"], "picked", &[]),
        node("Expand", &["picked", "wide"], "c", &[]),
    ];
    let constants = vec![
        floats("places", &[2, 1], &[1.0, -1.0]),
        floats("w", &[1, 1], &[2.0]),
        i64s("index", &[1, 0]),
        i64s("wide", &[2, 2]),
    ];
    let two = 1.0 / (1.0 + (-2.0f32).exp());
    added(nodes, constants, &[2, 2], &[0.5, 0.5, two, two]);
}

#[test]
fn functions_of_constants_are_folded() {
    let e = std::f32::consts::E;
    let cases: [(&str, [f32; 2]); 5] = [
        ("Sin", [0.0, 1f32.sin()]),
        ("Cos", [1.0, 1f32.cos()]),
        ("Softplus", [2f32.ln(), (1.0 + e).ln()]),
        ("Softmax", [1.0 / (1.0 + e), e / (1.0 + e)]),
        ("LogSoftmax", [-(1.0 + e).ln(), 1.0 - (1.0 + e).ln()]),
    ];
    for (operator, expected) in cases {
        let nodes = vec![node(operator, &["list"], "c", &[])];
        added(
            nodes,
            vec![floats("list", &[2], &[0.0, 1.0])],
            &[2],
            &expected,
        );
    }
}

#[test]
fn weights_that_are_standardised_at_run_time_are_folded() {
    // The scaled weight standardisation of NF-Nets (Brock et al., 2021), in the form of PyTorch's
    // export.
    let epsilon = float("epsilon", 0.0);
    let nodes = vec![
        node("Reshape", &["w", "row"], "rows", &[]),
        node(
            "BatchNormalization",
            &["rows", "gain", "zero", "mean", "var"],
            "standard",
            &[epsilon],
        ),
        node("Reshape", &["standard", "shape"], "c", &[]),
    ];
    let constants = vec![
        floats("w", &[2, 2], &[1.0, 3.0, 10.0, 30.0]),
        i64s("row", &[1, 2, -1]),
        i64s("shape", &[2, 2]),
        floats("gain", &[2], &[1.0, 2.0]),
        floats("zero", &[2], &[0.0, 0.0]),
        floats("mean", &[2], &[2.0, 20.0]),
        floats("var", &[2], &[1.0, 100.0]),
    ];
    added(nodes, constants, &[2, 2], &[-1.0, 1.0, -2.0, 2.0]);
}

#[test]
fn parts_and_repeats_of_constants_are_folded() {
    // The difference of two parts, repeated where a comparison of two numbers says so.
    let nodes = vec![
        node("Split", &["both", "sizes"], "left right", &[int("axis", 0)]),
        node("Sub", &["left", "right"], "difference", &[]),
        node("Greater", &["three", "two"], "more", &[]),
        node("Cast", &["more"], "once", &[int("to", 7)]),
        node("Add", &["once", "repeats"], "times", &[]),
        node("Tile", &["difference", "times"], "c", &[]),
    ];
    let constants = vec![
        floats("both", &[2, 2], &[5.0, 7.0, 1.0, 2.0]),
        i64s("sizes", &[1, 1]),
        scalar("three", 3),
        scalar("two", 2),
        i64s("repeats", &[1, 0]),
    ];
    added(nodes, constants, &[2, 2], &[4.0, 5.0, 4.0, 5.0]);
}

#[test]
fn classes_of_numbers_are_folded() {
    // A number of 3 classes in each column, one from the end and one out of range.
    let nodes = vec![
        node(
            "OneHot",
            &["numbers", "depth", "values"],
            "classes",
            &[int("axis", 0)],
        ),
        node("Cast", &["classes"], "c", &[int("to", 1)]),
    ];
    let constants = vec![
        i64s("numbers", &[2, -3, 5]),
        scalar("depth", 3),
        i64s("values", &[1, 4]),
    ];
    let classes = [1.0, 4.0, 1.0, 1.0, 1.0, 1.0, 4.0, 1.0, 1.0];
    added(nodes, constants, &[3, 3], &classes);
}

#[test]
fn positions_in_floats_are_folded() {
    let cast = |name: &'static str, to| node("Cast", &[name], to, &[int("to", 1)]);
    let check = |[start, end, step]: [i64; 3], expected: &[f32]| {
        let nodes = vec![
            cast("start", "from"),
            cast("end", "to"),
            cast("step", "by"),
            node("Range", &["from", "to", "by"], "c", &[]),
        ];
        let constants = vec![
            scalar("start", start),
            scalar("end", end),
            scalar("step", step),
        ];
        added(nodes, constants, &[expected.len()], expected);
    };
    check([0, 3, 1], &[0.0, 1.0, 2.0]);
    check([1, 6, 2], &[1.0, 3.0, 5.0]);
    check([5, 0, -2], &[5.0, 3.0, 1.0]);
}

#[test]
fn integers_are_folded_with_the_rounding_of_onnx() {
    // 0, 1, .., 5 modulo 4, in steps of -2 from the end, as floats.
    let nodes = vec![
        node("Range", &["zero", "six", "one"], "range", &[]),
        node("Mod", &["range", "four"], "rest", &[]),
        node(
            "Slice",
            &["rest", "last", "first", "axis", "back"],
            "turned",
            &[],
        ),
        node("Cast", &["turned"], "c", &[int("to", 1)]),
    ];
    let constants = vec![
        scalar("zero", 0),
        scalar("six", 6),
        scalar("one", 1),
        i64s("four", &[4]),
        i64s("last", &[-1]),
        i64s("first", &[i64::MIN]),
        i64s("axis", &[0]),
        i64s("back", &[-2]),
    ];
    added(nodes, constants, &[3], &[1.0, 3.0, 1.0]);
}

#[test]
fn a_small_file_cannot_create_a_large_constant() {
    let fill = |size: &[i64]| {
        let nodes = vec![
            filled("ConstantOfShape", &["size"], "zeros", 1, 0.0),
            node("Add", &["x", "zeros"], "y", &[]),
        ];
        settled(&model(17, &["1"], nodes, vec![i64s("size", size)]))
    };
    assert_eq!(names(&fill(&[4])), ["Add"]);
    let sizes: [&[i64]; 4] = [
        &[1 << 40],
        &[i64::MAX, i64::MAX],
        &[1 << 20, 1 << 20],
        &[0, 1 << 62, 1 << 62],
    ];
    for size in sizes {
        assert_eq!(names(&fill(size)), ["ConstantOfShape", "Add"], "{size:?}");
    }
    // Nor many smaller ones.
    let mut nodes = Vec::new();
    for i in 0..40 {
        let (zeros, from) = (format!("z{i}"), format!("v{i}"));
        let from = if i == 0 { "x" } else { &from };
        let to = if i == 39 {
            "y".to_owned()
        } else {
            format!("v{}", i + 1)
        };
        nodes.push(filled("ConstantOfShape", &["size"], &zeros, 1, 0.0));
        nodes.push(node("Add", &[from, &zeros], &to, &[]));
    }
    let graph = load(&model(17, &["1"], nodes, vec![i64s("size", &[1 << 20])])).unwrap();
    let held: usize = graph.constants().values().map(Tensor::len).sum();
    assert!(held <= (1 << 22) + 40, "{held}");
}

#[test]
fn a_token_is_expanded_by_the_batch_alone() {
    let nodes = vec![
        node("Shape", &["x"], "sizes", &[]),
        node("Gather", &["sizes", "zero"], "n", &[]),
        node("Unsqueeze", &["n", "axis"], "n1", &[]),
        node("Concat", &["n1", "keep"], "wish", &[int("axis", 0)]),
        node("Equal", &["wish", "minus"], "open", &[]),
        node("Where", &["open", "ones", "wish"], "target", &[]),
        node("Expand", &["token", "target"], "tokens", &[]),
        node("Concat", &["tokens", "x"], "y", &[int("axis", 1)]),
    ];
    let constants = vec![
        scalar("zero", 0),
        i64s("axis", &[0]),
        i64s("keep", &[-1, -1]),
        i64s("minus", &[-1, -1, -1]),
        i64s("ones", &[1, 1, 1]),
        f32s("token", &[1, 1, 6]),
    ];
    let graph = settled(&model(17, &["N", "4", "6"], nodes, constants));
    assert_eq!(names(&graph), ["Shape", "Concat", "Expand", "Concat"]);
    let Op::Expand(expand) = &graph.nodes()[2].op else {
        panic!()
    };
    let (one, batch) = (Dim::Known(1), Dim::Symbol("N".into()));
    assert_eq!(expand.sizes, [batch.clone(), one.clone(), one]);
    let expected = [batch, Dim::Known(5), Dim::Known(6)];
    assert_eq!(
        graph.value(graph.outputs()[0]).shape.as_deref(),
        Some(&expected[..])
    );
}

#[test]
fn a_packed_projection_is_sliced_and_heads_are_split_at_once() {
    // Queries of 2 heads with 3 channels each, in the form of PyTorch's attention over 5
    // positions.
    let nodes = vec![
        node("MatMul", &["x", "w"], "packed", &[]),
        node("Reshape", &["packed", "thirds"], "three", &[]),
        node(
            "Transpose",
            &["three"],
            "first",
            &[ints("perm", &[2, 0, 1, 3])],
        ),
        node("Gather", &["first", "one"], "keys", &[]),
        node("Reshape", &["keys", "merged"], "rows", &[]),
        node(
            "Transpose",
            &["rows"],
            "turned",
            &[ints("perm", &[1, 0, 2])],
        ),
        node("Reshape", &["turned", "heads"], "y", &[]),
    ];
    let constants = vec![
        f32s("w", &[4, 18]),
        i64s("thirds", &[5, -1, 3, 6]),
        scalar("one", 1),
        i64s("merged", &[5, -1, 3]),
        i64s("heads", &[-1, 2, 5, 3]),
    ];
    let graph = settled(&model(17, &["5", "N", "4"], nodes, constants));
    let slice = ops::Slice {
        starts: vec![6],
        ends: vec![12],
        axes: vec![2],
        steps: vec![1],
    };
    assert_eq!(graph.nodes()[1].op, Op::Slice(slice));
    let [.., reshape, transpose] = graph.nodes() else {
        panic!()
    };
    assert!(
        matches!(&reshape.op, Op::Reshape(r) if r.target == [5, -1, 2, 3])
            && matches!(&transpose.op, Op::Transpose(t) if t.perm == [1, 2, 0, 3]),
        "{:?}",
        graph.nodes()
    );
}

#[test]
fn an_expand_before_a_broadcasting_reader_is_dropped() {
    let nodes = vec![
        node("ReduceL2", &["x"], "norm", &[ints("axes", &[1])]),
        node("Shape", &["x"], "sizes", &[]),
        node("Expand", &["norm", "sizes"], "wide", &[]),
        node("Div", &["x", "wide"], "y", &[]),
    ];
    let graph = settled(&model(17, &["N", "6", "4"], nodes, vec![]));
    assert_eq!(names(&graph), ["ReduceL2", "Div"]);
}

#[test]
fn a_view_by_strides_becomes_a_reshape_only_if_it_is_in_order() {
    let load = |step: i64, offsets: &[i64]| {
        let nodes = vec![
            node("Reshape", &["x", "flat"], "list", &[]),
            node("Shape", &["x"], "sizes", &[]),
            node("Gather", &["sizes", "zero"], "n", &[]),
            node("Range", &["zero", "n", "one"], "images", &[]),
            node("Mul", &["images", "step"], "starts", &[]),
            node("Unsqueeze", &["starts", "axis"], "column", &[]),
            node("Add", &["column", "offsets"], "positions", &[]),
            node("Gather", &["list", "positions"], "view", &[int("axis", 0)]),
            node("Relu", &["view"], "y", &[]),
        ];
        let constants = vec![
            i64s("flat", &[-1]),
            scalar("zero", 0),
            scalar("one", 1),
            scalar("step", step),
            i64s("axis", &[1]),
            TensorProto {
                dims: vec![1, offsets.len() as i64],
                ..i64s("offsets", offsets)
            },
        ];
        let mut model = model(17, &["N", "2", "2"], nodes, constants);
        let stated = value("view", &["N", &offsets.len().to_string()]);
        model.graph.as_mut().unwrap().value_info.push(stated);
        settled(&model)
    };
    let graph = load(4, &[0, 1, 2, 3]);
    assert_eq!(names(&graph), ["Reshape", "Relu"]);
    for (step, offsets) in [(4, [0, 2, 1, 3]), (3, [0, 1, 2, 3]), (4, [0, 1, 2, 4])] {
        let graph = load(step, &offsets);
        assert!(names(&graph).contains(&"Range"), "{step} {offsets:?}");
    }
}

#[test]
fn a_slice_with_the_longest_step_takes_one_element() {
    for start in [3, -9] {
        let nodes = vec![
            node("Slice", &["list", "start", "end", "axis", "step"], "c", &[]),
            node("Concat", &["x", "c"], "y", &[int("axis", 0)]),
        ];
        let constants = vec![
            f32s("list", &[200]),
            i64s("start", &[start]),
            i64s("end", &[i64::MIN]),
            i64s("axis", &[0]),
            i64s("step", &[i64::MIN]),
        ];
        if let Ok(graph) = load(&model(17, &["4"], nodes, constants)) {
            let shape = &graph.value(graph.outputs()[0]).shape;
            assert_eq!(shape.as_deref(), Some(&[Dim::Known(5)][..]), "from {start}");
        }
    }
}

#[test]
fn constants_that_do_not_fit_together_are_errors() {
    for (axis, more) in [(0, vec![]), (1, vec![node("Relu", &["c"], "d", &[])])] {
        let mut nodes = vec![node("Concat", &["a", "b"], "c", &[int("axis", axis)])];
        nodes.extend(more);
        nodes.push(node("Add", &["x", "c"], "y", &[]));
        let constants = vec![i64s("a", &[1, 2]), scalar("b", 3)];
        assert!(load(&model(17, &["4"], nodes, constants)).is_err());
    }
}

#[test]
fn a_constant_of_shape_may_have_an_open_batch() {
    let nodes = vec![
        node("Shape", &["x"], "s", &[]),
        filled("ConstantOfShape", &["s"], "c", 1, 0.0),
        node("Concat", &["x", "c"], "y", &[int("axis", 1)]),
    ];
    let graph = settled(&model(17, &["N", "3", "4"], nodes, vec![]));
    let shape = graph.value(graph.outputs()[0]).shape.as_ref().unwrap();
    let shape: Vec<String> = shape.iter().map(Dim::to_string).collect();
    assert_eq!(shape, ["N", "6", "4"]);
}

#[test]
fn zeros_beside_an_image_become_a_padding_and_other_constants_stay() {
    for (batch, parts, pads) in [
        ("N", ["x", "zeros"], Some([0, 3])),
        ("N", ["zeros", "x"], Some([3, 0])),
        ("2", ["x", "zeros"], Some([0, 3])),
        ("2", ["x", "parameter"], None),
        ("N", ["x", "ones"], None),
    ] {
        let nodes = vec![
            node("Shape", &["x"], "sizes", &[]),
            filled("ConstantOfShape", &["sizes"], "zeros", 1, 0.0),
            filled("ConstantOfShape", &["sizes"], "ones", 1, 1.0),
            node("Concat", &parts, "y", &[int("axis", 1)]),
        ];
        let constants = vec![floats("parameter", &[2, 3, 1, 1], &[0.5; 6])];
        let graph = settled(&model(17, &[batch, "3", "1", "1"], nodes, constants));
        let found = match &graph.nodes().last().unwrap().op {
            Op::Pad(pad) => Some([pad.pads[1], pad.pads[5]]),
            _ => None,
        };
        assert_eq!(found, pads, "{parts:?}");
    }
}

#[test]
fn reductions_of_weights_are_folded() {
    let weights = [1.0, -2.0, 2.0, 4.0, 0.5, -1.0];
    for (op, expected) in [
        ("ReduceL1", [5.0, 5.5]),
        ("ReduceL2", [3.0, 4.153_312]),
        ("ReduceSum", [1.0, 3.5]),
        ("ReduceSumSquare", [9.0, 17.25]),
        ("ReduceMean", [1.0 / 3.0, 3.5 / 3.0]),
        ("ReduceMax", [2.0, 4.0]),
        ("ReduceMin", [-2.0, -1.0]),
        ("ReduceLogSumExp", [2.326_563, 4.036_27]),
    ] {
        let constants = || vec![floats("w", &[2, 3], &weights)];
        let reduce = |keepdims| {
            let attributes = [ints("axes", &[-1]), int("keepdims", keepdims)];
            match op {
                // Its axes are an input of this operator set.
                "ReduceSum" => vec![node(op, &["w", "axes"], "c", &attributes[1..])],
                _ => vec![node(op, &["w"], "c", &attributes)],
            }
        };
        let axes = TensorProto {
            dims: vec![1],
            data_type: 7,
            int64_data: vec![-1],
            name: "axes".into(),
            ..TensorProto::default()
        };
        let with_axes = || [constants(), vec![axes.clone()]].concat();
        added(reduce(0), with_axes(), &[2], &expected);
        added(reduce(1), with_axes(), &[2, 1], &expected);
    }
}

#[test]
fn a_normalised_weight_is_read_as_a_constant() {
    // Rows of length 5 and 13, with the gains 10 and 26.
    let nodes = vec![
        node("ReduceL2", &["v"], "n", &[ints("axes", &[1, 2])]),
        node("Div", &["v", "n"], "u", &[]),
        node("Mul", &["u", "g"], "c", &[]),
    ];
    let constants = vec![
        floats("v", &[2, 1, 2], &[3.0, -4.0, 5.0, 12.0]),
        floats("g", &[2, 1, 1], &[10.0, 26.0]),
    ];
    added(nodes, constants, &[2, 1, 2], &[6.0, -8.0, 10.0, 24.0]);
}

#[test]
fn products_with_a_bias_and_paddings_of_weights_are_folded() {
    let factors = [float("alpha", 0.5), float("beta", 2.0), int("transB", 1)];
    let product = vec![node("Gemm", &["a", "b", "bias"], "c", &factors)];
    let constants = ["a", "b"].map(|name| f32s(name, &[2, 3]));
    let constants = [&constants[..], &[f32s("bias", &[2])]].concat();
    added(product, constants, &[2, 2], &[9.0, 20.0, 18.0, 42.5]);
    let padded = vec![node("Pad", &["w", "pads"], "c", &[])];
    let constants = vec![f32s("w", &[2, 2]), i64s("pads", &[0, 1, 1, 0])];
    let expected = [0.0, 1.0, 2.0, 0.0, 3.0, 4.0, 0.0, 0.0, 0.0];
    added(padded, constants, &[3, 3], &expected);
}
