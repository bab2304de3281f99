//! Costs: behind any operator, the multiply-accumulates of a layer are right or listed as not
//! counted.

use onnx_graph::cost::{Costs, costs};
use onnx_graph::ops::{Conv, MatMul, Op, Opaque};
use onnx_graph::{Attribute, AttributeValue, DType, Dim, Graph, Tensor, TensorData};

/// An input of an operator.
enum In {
    /// A value with the batch and these sizes, channels first.
    Image(&'static [usize]),
    /// A value with these sizes and no batch.
    Data(&'static [usize]),
    /// Constant integers.
    Ints(&'static [i64]),
    /// Constant floats of these sizes.
    Floats(&'static [usize]),
    /// Constant bytes of these sizes.
    Bytes(&'static [usize]),
    /// Constant floats.
    Scales(&'static [f32]),
    /// Omitted.
    Absent,
}
use In::{Absent, Bytes, Data, Floats, Image, Ints, Scales};

type Attributes<'a> = &'a [(&'a str, AttributeValue)];

fn int(v: i64) -> AttributeValue {
    AttributeValue::Int(v)
}

fn list(v: &[i64]) -> AttributeValue {
    AttributeValue::Ints(v.to_vec())
}

fn text(v: &str) -> AttributeValue {
    AttributeValue::Text(v.as_bytes().to_vec())
}

/// A model of the operator and a layer behind it: a convolution if the output is an image, else a
/// product.
fn network(opset: i64, name: &str, attributes: Attributes<'_>, inputs: &[In]) -> Graph {
    let (domain, op_type) = name.split_once(':').unwrap_or(("", name));
    let mut graph = Graph::new("g", opset);
    let batch = Dim::Symbol("N".into());
    graph.add_input("image", DType::F32, vec![batch.clone()]);
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect::<Vec<_>>();
    let constant = |graph: &mut Graph, i: usize, dims: &[usize], data: TensorData| {
        graph.add_constant(&format!("c{i}"), Tensor::new(dims.to_vec(), data).unwrap())
    };
    let mut ids = Vec::new();
    for (i, input) in inputs.iter().enumerate() {
        let count = |dims: &[usize]| dims.iter().product::<usize>();
        ids.push(match input {
            Image(dims) => {
                let shape = [vec![batch.clone()], known(dims)].concat();
                Some(graph.add_input(&format!("x{i}"), DType::F32, shape))
            }
            Data(dims) => Some(graph.add_input(&format!("x{i}"), DType::F32, known(dims))),
            Ints(v) => {
                let data = TensorData::I64(v.to_vec());
                Some(constant(&mut graph, i, &[v.len()], data))
            }
            Scales(v) => {
                let data = TensorData::F32(v.to_vec());
                Some(constant(&mut graph, i, &[v.len()], data))
            }
            Floats(dims) => {
                let data = TensorData::F32(vec![0.5; count(dims)]);
                Some(constant(&mut graph, i, dims, data))
            }
            Bytes(dims) => {
                let data = TensorData::U8(vec![1; count(dims)]);
                Some(constant(&mut graph, i, dims, data))
            }
            Absent => None,
        });
    }
    let op = Opaque {
        domain: domain.into(),
        op_type: op_type.into(),
        attributes: attributes
            .iter()
            .map(|(name, value)| Attribute {
                name: (*name).into(),
                value: value.clone(),
            })
            .collect(),
        ..Opaque::default()
    };
    let out = graph
        .push_node("op", op.into(), ids, &[Some("y")])
        .unwrap_or_else(|e| panic!("{name}: {e}"))[0]
        .unwrap();
    // An output of unknown shape is read by a convolution.
    let shape = graph.value(out).shape.clone();
    let rank = shape.as_ref().map_or(4, Vec::len);
    let width = |axis: usize| shape.as_ref().and_then(|s| s[axis].known()).unwrap_or(3);
    let (weight, layer): (Vec<usize>, Op) = match rank {
        0 => (vec![1, 5], MatMul.into()),
        4 => {
            let conv = Conv {
                kernel: vec![1, 1],
                strides: vec![1, 1],
                pads: vec![0; 4],
                dilations: vec![1, 1],
                group: 1,
            };
            (vec![5, width(1), 1, 1], conv.into())
        }
        _ => (vec![width(rank - 1), 5], MatMul.into()),
    };
    let data = vec![0.1; weight.iter().product()];
    let weight = graph.add_constant("w", Tensor::f32(weight, data).unwrap());
    if rank > 0 {
        let end = graph.push("layer", layer, &[out, weight]).unwrap();
        graph.add_output(end);
    }
    graph
}

fn named(graph: &Graph, nodes: &[onnx_graph::NodeId]) -> Vec<String> {
    nodes.iter().map(|&n| graph.node(n).name.clone()).collect()
}

/// The operator must give these sizes per image, and multiply so often itself.
fn check_at(
    opset: i64,
    name: &str,
    attributes: Attributes<'_>,
    inputs: &[In],
    expected: (&[usize], u64),
) {
    let (expected, own) = expected;
    let graph = network(opset, name, attributes, inputs);
    let out = graph.find_value("y").unwrap();
    let shape = graph.value(out).shape.as_ref();
    let shape = shape.unwrap_or_else(|| panic!("{name}: no shape"));
    let sizes: Vec<usize> = shape.iter().map(Dim::per_image).collect();
    assert_eq!(sizes, expected, "{name}");
    let Costs {
        macs, uncounted, ..
    } = costs(&graph);
    assert_eq!(named(&graph, &uncounted), [""; 0], "{name}");
    let elements: usize = expected.iter().product();
    let behind = if expected.is_empty() { 0 } else { 5 * elements };
    assert_eq!(macs, own + behind as u64, "{name}");
}

fn check(name: &str, attributes: Attributes<'_>, inputs: &[In], expected: &[usize]) {
    check_at(18, name, attributes, inputs, (expected, 0));
}

/// The layer behind the operator must be listed as not counted, with the operator as the origin.
fn check_unknown(name: &str, attributes: Attributes<'_>, inputs: &[In]) {
    let graph = network(18, name, attributes, inputs);
    let found = costs(&graph);
    let uncounted = named(&graph, &found.uncounted);
    assert!(
        uncounted.contains(&"layer".to_owned()),
        "{name}: {uncounted:?}"
    );
    assert_eq!(named(&graph, &found.origins), ["op"], "{name}");
}

const IMAGE: In = Image(&[6, 8, 4]);
const SAME: &[usize] = &[1, 6, 8, 4];

#[test]
fn operators_that_keep_the_shape_do() {
    for name in [
        "Abs",
        "Acos",
        "Acosh",
        "Asin",
        "Asinh",
        "Atan",
        "Atanh",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "Cosh",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "Hardmax",
        "Identity",
        "IsInf",
        "IsNaN",
        "LRN",
        "LeakyRelu",
        "Log",
        "LogSoftmax",
        "LpNormalization",
        "MeanVarianceNormalization",
        "Mish",
        "Neg",
        "Not",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Shrink",
        "Sigmoid",
        "Sign",
        "Sin",
        "Sinh",
        "Softmax",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Swish",
        "Tan",
        "Tanh",
        "ThresholdedRelu",
        "Trilu",
        "Dropout",
        "DynamicQuantizeLinear",
        "EyeLike",
        "RandomNormalLike",
        "com.microsoft:Gelu",
        "com.microsoft:FastGelu",
        "com.microsoft:QuickGelu",
        "com.microsoft:BiasGelu",
        "LayerNormalization",
    ] {
        check(name, &[], &[IMAGE], SAME);
    }
    let scales = || [IMAGE, Floats(&[]), Bytes(&[])];
    for name in [
        "QuantizeLinear",
        "DequantizeLinear",
        "com.microsoft:QuantizeLinear",
        "com.microsoft:DequantizeLinear",
        "com.microsoft:QLinearSigmoid",
        "com.microsoft:QLinearLeakyRelu",
        "com.microsoft:QLinearSoftmax",
        "com.microsoft:SkipLayerNormalization",
        "InstanceNormalization",
        "ScatterElements",
        "ScatterND",
        "CastLike",
        "CumSum",
        "ReverseSequence",
    ] {
        check(name, &[], &scales(), SAME);
    }
    check("Cast", &[("to", int(1))], &[IMAGE], SAME);
}

#[test]
fn operators_that_broadcast_do() {
    for name in [
        "Add",
        "Sub",
        "Mul",
        "Div",
        "Pow",
        "Mod",
        "Max",
        "Min",
        "Sum",
        "Mean",
        "And",
        "Or",
        "Xor",
        "Equal",
        "Greater",
        "Less",
        "GreaterOrEqual",
        "LessOrEqual",
        "BitShift",
        "BitwiseAnd",
    ] {
        check(name, &[], &[IMAGE, Floats(&[])], SAME);
        check(name, &[], &[Floats(&[1, 6, 1, 1]), IMAGE], SAME);
        check(name, &[], &[Image(&[6, 1, 4]), Image(&[1, 8, 1])], SAME);
    }
    check(
        "Max",
        &[],
        &[Image(&[6, 1, 1]), Floats(&[8, 1]), Floats(&[4])],
        SAME,
    );
    check("Max", &[], &[IMAGE], SAME);
    check(
        "Where",
        &[],
        &[Image(&[1, 8, 4]), Image(&[6, 1, 1]), Floats(&[])],
        SAME,
    );
    let quantised = [
        IMAGE,
        Floats(&[]),
        Bytes(&[]),
        Image(&[6, 1, 1]),
        Floats(&[]),
        Bytes(&[]),
    ];
    check("com.microsoft:QLinearAdd", &[], &quantised, SAME);
    check("com.microsoft:QLinearMul", &[], &quantised, SAME);
    // Before opset 7 the second broadcasts to the first, from an axis on.
    let legacy = &[("axis", int(1)), ("broadcast", int(1))];
    check_at(6, "Add", legacy, &[IMAGE, Floats(&[6])], (SAME, 0));
}

#[test]
fn reductions_follow_their_axes() {
    for name in [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ] {
        let drop = &[("keepdims", int(0))];
        check(name, &[], &[IMAGE, Ints(&[2, -1])], &[1, 6, 1, 1]);
        check(name, &[("axes", list(&[2, 3]))], &[IMAGE], &[1, 6, 1, 1]);
        check(name, drop, &[IMAGE, Ints(&[2, 3])], &[1, 6]);
        check(name, &[], &[IMAGE], &[1, 1, 1, 1]);
        check(name, &[("noop_with_empty_axes", int(1))], &[IMAGE], SAME);
        check_unknown(name, &[], &[IMAGE, Data(&[2])]);
        check_unknown(name, drop, &[IMAGE, Data(&[2])]);
    }
    check("ArgMax", &[("axis", int(-1))], &[IMAGE], &[1, 6, 8, 1]);
    check(
        "ArgMin",
        &[("axis", int(3)), ("keepdims", int(0))],
        &[IMAGE],
        &[1, 6, 8],
    );
    check("TopK", &[], &[IMAGE, Ints(&[3])], &[1, 6, 8, 3]);
    check_unknown("TopK", &[], &[IMAGE, Data(&[1])]);
    check_at(
        9,
        "TopK",
        &[("k", int(2)), ("axis", int(2))],
        &[IMAGE],
        (&[1, 6, 2, 4], 0),
    );
    for name in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"] {
        check(name, &[], &[IMAGE], &[1, 6, 1, 1]);
    }
    let (one, zero) = (Floats(&[]), Bytes(&[]));
    let last = &[("channels_last", int(1))];
    check(
        "com.microsoft:QLinearGlobalAveragePool",
        last,
        &[IMAGE, one, zero],
        &[1, 1, 1, 4],
    );
}

#[test]
fn operators_that_rearrange_do() {
    let blocks = &[("blocksize", int(2))];
    check("DepthToSpace", blocks, &[Image(&[8, 3, 5])], &[1, 2, 6, 10]);
    check("SpaceToDepth", blocks, &[Image(&[2, 6, 4])], &[1, 8, 3, 2]);
    check("Tile", &[], &[IMAGE, Ints(&[1, 2, 1, 3])], &[1, 12, 8, 12]);
    check_unknown("Tile", &[], &[IMAGE, Data(&[4])]);
    check(
        "Pad",
        &[],
        &[IMAGE, Ints(&[0, 0, 1, 2, 0, 0, 3, 4]), Data(&[])],
        &[1, 6, 12, 10],
    );
    check(
        "Pad",
        &[],
        &[IMAGE, Ints(&[1, 3]), Absent, Ints(&[-1])],
        &[1, 6, 8, 8],
    );
    check_unknown("Pad", &[], &[IMAGE, Data(&[8])]);
    check(
        "Upsample",
        &[("mode", text("nearest"))],
        &[IMAGE, Scales(&[1.0, 1.0, 2.0, 1.5])],
        &[1, 6, 16, 6],
    );
    check(
        "Resize",
        &[("antialias", int(1))],
        &[IMAGE, Absent, Scales(&[1.0, 1.0, 0.5, 2.0])],
        &[1, 6, 4, 8],
    );
    let axes = &[("axes", list(&[2, 3]))];
    check(
        "Resize",
        axes,
        &[IMAGE, Absent, Absent, Ints(&[5, 7])],
        &[1, 6, 5, 7],
    );
    let larger = &[
        ("keep_aspect_ratio_policy", text("not_larger")),
        ("axes", list(&[2, 3])),
    ];
    check_unknown("Resize", larger, &[IMAGE, Absent, Absent, Ints(&[5, 7])]);
    check(
        "Concat",
        &[("axis", int(1)), ("odd", int(1))],
        &[IMAGE, Image(&[2, 8, 4])],
        &[1, 8, 8, 4],
    );
    check(
        "Gather",
        &[("axis", int(1))],
        &[IMAGE, Data(&[9])],
        &[1, 9, 8, 4],
    );
    check(
        "GatherElements",
        &[("axis", int(2))],
        &[IMAGE, Image(&[6, 2, 4])],
        &[1, 6, 2, 4],
    );
    check(
        "GatherND",
        &[("batch_dims", int(1))],
        &[IMAGE, Image(&[7, 1])],
        &[1, 7, 8, 4],
    );
    check(
        "OneHot",
        &[],
        &[Image(&[5]), Ints(&[10]), Floats(&[2])],
        &[1, 5, 10],
    );
    check(
        "GridSample",
        &[],
        &[IMAGE, Image(&[5, 3, 2])],
        &[1, 6, 5, 3],
    );
    check(
        "AffineGrid",
        &[],
        &[Image(&[2, 3]), Ints(&[1, 6, 5, 3])],
        &[1, 5, 3, 2],
    );
    check(
        "CenterCropPad",
        axes,
        &[IMAGE, Ints(&[4, 6])],
        &[1, 6, 4, 6],
    );
    check(
        "Col2Im",
        &[],
        &[Image(&[24, 30]), Ints(&[5, 6]), Ints(&[2, 2])],
        &[1, 6, 5, 6],
    );
    check_unknown("Slice", &[], &[IMAGE, Data(&[1]), Data(&[1]), Ints(&[2])]);
    check_unknown("Reshape", &[], &[IMAGE, Data(&[4])]);
    check_unknown("Expand", &[], &[IMAGE, Data(&[4])]);
    // The size of the product's weight must fit.
    let found = network(18, "NonZero", &[], &[IMAGE]);
    assert_eq!(named(&found, &costs(&found).origins), ["op"]);
    check_unknown("Compress", &[("axis", int(2))], &[IMAGE, Data(&[6])]);
    check_unknown("Unique", &[("axis", int(2))], &[IMAGE]);
    check_unknown("Split", &[("axis", int(2))], &[IMAGE, Data(&[1])]);
}

#[test]
fn poolings_slide_their_windows() {
    let window = || ("kernel_shape", list(&[3, 3]));
    let strides = || ("strides", list(&[2, 2]));
    let padded = &[window(), strides(), ("pads", list(&[1, 1, 1, 1]))];
    for name in [
        "AveragePool",
        "MaxPool",
        "LpPool",
        "com.microsoft:QLinearAveragePool",
    ] {
        check(name, padded, &[IMAGE], &[1, 6, 4, 2]);
        check(
            name,
            &[window(), strides(), ("auto_pad", text("SAME_UPPER"))],
            &[IMAGE],
            &[1, 6, 4, 2],
        );
        check(
            name,
            &[window(), ("dilations", list(&[1, 1]))],
            &[IMAGE],
            &[1, 6, 6, 2],
        );
        check_unknown(name, &[], &[IMAGE]);
    }
    check(
        "MaxPool",
        &[window(), strides(), ("ceil_mode", int(1))],
        &[IMAGE],
        &[1, 6, 4, 2],
    );
    let unpool = &[("kernel_shape", list(&[2, 2])), strides()];
    check("MaxUnpool", unpool, &[IMAGE, IMAGE], &[1, 6, 16, 8]);
    let size = &[("output_height", int(7)), ("output_width", int(5))];
    check(
        "RoiAlign",
        size,
        &[IMAGE, Data(&[3, 4]), Data(&[3])],
        &[3, 6, 7, 5],
    );
    check(
        "MaxRoiPool",
        &[("pooled_shape", list(&[2, 3]))],
        &[IMAGE, Data(&[4, 5])],
        &[4, 6, 2, 3],
    );
}

#[test]
fn opaque_operators_that_multiply_count_their_own() {
    let conv = &[
        ("kernel_shape", list(&[3, 3])),
        ("pads", list(&[1, 1, 1, 1])),
    ];
    let own = 9 * 6 * 10 * 32;
    let out: &[usize] = &[1, 10, 8, 4];
    let (scale, zero) = (|| Floats(&[]), || Bytes(&[]));
    let at =
        |name: &str, attributes: Attributes<'_>, inputs: &[In], expected: &[usize], own: u64| {
            check_at(18, name, attributes, inputs, (expected, own));
        };
    at("Conv", conv, &[IMAGE, Floats(&[10, 6, 3, 3])], out, own);
    at(
        "ConvInteger",
        conv,
        &[IMAGE, Bytes(&[10, 6, 3, 3])],
        out,
        own,
    );
    at(
        "com.microsoft:FusedConv",
        conv,
        &[IMAGE, Floats(&[10, 6, 3, 3])],
        out,
        own,
    );
    let quantised = [
        IMAGE,
        scale(),
        zero(),
        Bytes(&[10, 6, 3, 3]),
        scale(),
        zero(),
        scale(),
        zero(),
    ];
    at("QLinearConv", conv, &quantised, out, own);
    at("com.microsoft:QLinearConv", conv, &quantised, out, own);
    at(
        "DeformConv",
        conv,
        &[IMAGE, Floats(&[10, 6, 3, 3]), Image(&[18, 8, 4])],
        out,
        own,
    );
    let grows = &[("output_shape", list(&[16, 8])), ("strides", list(&[2, 2]))];
    at(
        "ConvTranspose",
        grows,
        &[IMAGE, Floats(&[6, 10, 2, 2])],
        &[1, 10, 16, 8],
        32 * 6 * 40,
    );
    let same = &[("auto_pad", text("SAME_UPPER")), ("strides", list(&[2, 2]))];
    at(
        "ConvTranspose",
        same,
        &[IMAGE, Floats(&[6, 10, 3, 3])],
        &[1, 10, 16, 8],
        32 * 6 * 90,
    );

    let row = || Image(&[12]);
    at("MatMulInteger", &[], &[row(), Bytes(&[12, 7])], &[1, 7], 84);
    at(
        "com.microsoft:FusedGemm",
        &[("transB", int(1))],
        &[row(), Floats(&[7, 12])],
        &[1, 7],
        84,
    );
    at("Gemm", &[], &[row(), Floats(&[12, 7])], &[1, 7], 84);
    let pair = [
        row(),
        scale(),
        zero(),
        Bytes(&[12, 7]),
        scale(),
        zero(),
        scale(),
        zero(),
    ];
    at("QLinearMatMul", &[], &pair, &[1, 7], 84);
    at("com.microsoft:QGemm", &[], &pair[..6], &[1, 7], 84);
    at(
        "com.microsoft:DynamicQuantizeMatMul",
        &[],
        &[row(), Bytes(&[12, 7])],
        &[1, 7],
        84,
    );
    let turned = &[("transA", int(1))];
    at(
        "com.microsoft:FusedMatMul",
        turned,
        &[Image(&[12, 3]), Floats(&[12, 7])],
        &[1, 3, 7],
        3 * 84,
    );
    let packed = &[("K", int(12)), ("N", int(7))];
    at(
        "com.microsoft:MatMulNBits",
        packed,
        &[Image(&[3, 12]), Bytes(&[7, 1, 6])],
        &[1, 3, 7],
        3 * 84,
    );

    let batch_first = &[("hidden_size", int(5)), ("layout", int(1))];
    for (name, gates) in [("RNN", 1), ("GRU", 3), ("LSTM", 4)] {
        let weights: [&'static [usize]; 2] = match gates {
            1 => [&[2, 5, 6], &[2, 5, 5]],
            3 => [&[2, 15, 6], &[2, 15, 5]],
            _ => [&[2, 20, 6], &[2, 20, 5]],
        };
        let inputs = [Image(&[9, 6]), Floats(weights[0]), Floats(weights[1])];
        let own = 9 * 2 * gates * 5 * (6 + 5);
        at(name, batch_first, &inputs, &[1, 9, 2, 5], own);
    }
}

#[test]
fn operators_without_a_rule_are_not_counted() {
    for name in [
        "my.domain:Thing",
        "com.microsoft:Attention",
        "Loop",
        "If",
        "Einsum",
        "DFT",
    ] {
        let graph = network(18, name, &[], &[IMAGE, Data(&[3])]);
        let found = costs(&graph);
        let uncounted = named(&graph, &found.uncounted);
        assert!(
            uncounted.contains(&"layer".to_owned()),
            "{name}: {uncounted:?}"
        );
        if !["Loop", "If"].contains(&name) {
            assert!(
                uncounted.contains(&"op".to_owned()),
                "{name}: {uncounted:?}"
            );
        }
        assert_eq!(named(&graph, &found.origins), ["op"], "{name}");
        assert!(!found.unsized_nodes.is_empty(), "{name}");
    }
}

#[test]
fn quantised_weights_are_parameters_and_scales_are_not() {
    let per_channel = [
        IMAGE,
        Floats(&[]),
        Bytes(&[]),
        Bytes(&[10, 6, 1, 1]),
        Floats(&[10]),
        Bytes(&[10]),
        Floats(&[]),
        Bytes(&[]),
    ];
    let graph = network(18, "QLinearConv", &[], &per_channel);
    assert_eq!(costs(&graph).parameters, 60 + 50);
    let graph = network(
        18,
        "DequantizeLinear",
        &[],
        &[Bytes(&[4, 3, 1, 1]), Floats(&[4])],
    );
    assert_eq!(costs(&graph).parameters, 12 + 15);
}

#[test]
fn only_an_open_batch_counts_as_one() {
    let symbol = |s: &str| Dim::Symbol(s.into());
    let conv = || Conv {
        kernel: vec![1, 1],
        strides: vec![1, 1],
        pads: vec![0; 4],
        dilations: vec![1, 1],
        group: 1,
    };
    let shapes: [(Vec<Dim>, Option<u64>); 4] = [
        (
            vec![symbol("N"), Dim::Known(3), Dim::Known(4), Dim::Known(5)],
            Some(300),
        ),
        (
            vec![Dim::Known(8), Dim::Known(3), Dim::Known(4), Dim::Known(5)],
            Some(300),
        ),
        (
            vec![symbol("N"), Dim::Known(3), symbol("H"), symbol("W")],
            None,
        ),
        (
            vec![symbol("N"), Dim::Known(3), symbol("N"), symbol("N")],
            None,
        ),
    ];
    for (shape, expected) in shapes {
        let mut graph = Graph::new("g", 17);
        let x = graph.add_input("x", DType::F32, shape.clone());
        let weight = Tensor::f32([5, 3, 1, 1], vec![1.0; 15]).unwrap();
        let w = graph.add_constant("w", weight);
        let y = graph.push("layer", conv().into(), &[x, w]).unwrap();
        graph.add_output(y);
        let found = costs(&graph);
        let counted = found.uncounted.is_empty().then_some(found.macs);
        assert_eq!(counted, expected, "{shape:?}");
        assert_eq!(
            graph.open_inputs().is_empty(),
            expected.is_some(),
            "{shape:?}"
        );
    }
}
