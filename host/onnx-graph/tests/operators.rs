//! Every operator: the shapes of its outputs, the inputs it rejects, and the equality of what is
//! written and read back at each operator set with another form.

use onnx_graph::ops::*;
use onnx_graph::{DType, Dim, Graph, GraphError, NoExternalData, Tensor, ValueId, read, write};

const OPSETS: [i64; 8] = [7, 9, 10, 11, 13, 17, 18, 20];

enum In {
    Data(&'static [usize]),
    Weight(&'static [usize]),
}
use In::{Data, Weight};

fn graph(
    opset: i64,
    op: Op,
    inputs: &[In],
    outputs: usize,
) -> Result<(Graph, Vec<ValueId>), GraphError> {
    let mut graph = Graph::new("g", opset);
    let known = |dims: &[usize]| dims.iter().map(|&d| Dim::Known(d)).collect();
    let ids: Vec<Option<ValueId>> = inputs
        .iter()
        .enumerate()
        .map(|(i, input)| {
            Some(match input {
                Data(dims) => graph.add_input(&format!("x{i}"), DType::F32, known(dims)),
                Weight(dims) => {
                    let count = dims.iter().product::<usize>();
                    let data = (0..count).map(|v| v as f32 + 0.5).collect();
                    graph.add_constant(&format!("w{i}"), Tensor::f32(*dims, data).unwrap())
                }
            })
        })
        .collect();
    let names: Vec<String> = (0..outputs).map(|i| format!("y{i}")).collect();
    let names: Vec<Option<&str>> = names.iter().map(|n| Some(n.as_str())).collect();
    let out: Vec<ValueId> = graph
        .push_node("op", op, ids, &names)?
        .into_iter()
        .flatten()
        .collect();
    for &id in &out {
        graph.add_output(id);
    }
    Ok((graph, out))
}

/// The outputs must have these shapes, and the operator must read back as it was written.
fn check(op: impl Into<Op>, inputs: &[In], expected: &[&[usize]]) {
    let op = op.into();
    for opset in OPSETS {
        let (graph, out) = graph(opset, op.clone(), inputs, expected.len())
            .unwrap_or_else(|e| panic!("{op:?}: {e}"));
        for (id, expected) in out.iter().zip(expected) {
            assert_eq!(graph.dims(*id).as_deref(), Some(*expected), "{op:?}");
            assert_eq!(graph.value(*id).dtype, Some(DType::F32), "{op:?}");
        }
        let bytes = write(&graph).unwrap();
        let back =
            read(&bytes, &NoExternalData).unwrap_or_else(|e| panic!("{op:?} at {opset}: {e}"));
        graph
            .same_network(&back)
            .unwrap_or_else(|e| panic!("{op:?} at {opset}: {e}"));
        if let Some(folder) = std::env::var_os("GRAPHPRUNE_KEEP_MODELS") {
            let name = format!("op_{}_{}_{opset}.onnx", op.name(), inputs.len());
            std::fs::write(std::path::Path::new(&folder).join(name), bytes).unwrap();
        }
    }
}

/// The operator must reject these inputs with an error that names the node.
fn refuse(op: impl Into<Op>, inputs: &[In], outputs: usize) {
    let op = op.into();
    match graph(17, op.clone(), inputs, outputs) {
        Err(GraphError::Shape { node, op: name, .. }) => {
            assert_eq!((node.as_str(), name.as_str()), ("op", op.name()))
        }
        other => panic!("{op:?} gave {other:?}"),
    }
}

fn conv(kernel: usize, stride: usize, pad: usize, group: usize) -> Conv {
    Conv {
        kernel: vec![kernel; 2],
        strides: vec![stride; 2],
        pads: vec![pad; 4],
        dilations: vec![1; 2],
        group,
    }
}

#[test]
fn pointwise_operators_keep_the_shape() {
    let ops: [Op; 18] = [
        Relu.into(),
        LeakyRelu { alpha: 0.1 }.into(),
        Clip {
            min: Some(0.0),
            max: Some(6.0),
        }
        .into(),
        Clip {
            min: None,
            max: Some(1.0),
        }
        .into(),
        Clip::default().into(),
        Sigmoid.into(),
        HardSigmoid {
            alpha: 0.25,
            beta: 0.5,
        }
        .into(),
        HardSwish.into(),
        Tanh.into(),
        Erf.into(),
        Gelu { tanh: true }.into(),
        Exp.into(),
        Sqrt.into(),
        Identity.into(),
        Dropout.into(),
        Softmax { axis: 1 }.into(),
        LogSoftmax { axis: -1 }.into(),
        Gelu { tanh: false }.into(),
    ];
    for op in ops {
        check(op, &[Data(&[2, 3, 4, 4])], &[&[2, 3, 4, 4]]);
    }
    refuse(Softmax { axis: 4 }, &[Data(&[2, 3, 4, 4])], 1);
    refuse(LogSoftmax { axis: -5 }, &[Data(&[2, 3, 4, 4])], 1);
}

#[test]
fn binary_operators_broadcast() {
    for op in [Op::from(Add), Sub.into(), Mul.into(), Div.into()] {
        check(
            op.clone(),
            &[Data(&[2, 3, 1, 4]), Data(&[5, 1])],
            &[&[2, 3, 5, 4]],
        );
        check(op.clone(), &[Data(&[2, 3]), Weight(&[])], &[&[2, 3]]);
        refuse(op, &[Data(&[2, 3]), Data(&[2])], 1);
    }
    check(
        PRelu,
        &[Data(&[2, 3, 4, 4]), Weight(&[3, 1, 1])],
        &[&[2, 3, 4, 4]],
    );
    refuse(PRelu, &[Data(&[3]), Weight(&[2, 3])], 1);
}

#[test]
fn convolutions_slide_their_window() {
    check(
        conv(3, 1, 1, 1),
        &[Data(&[2, 3, 8, 9]), Weight(&[5, 3, 3, 3])],
        &[&[2, 5, 8, 9]],
    );
    check(
        conv(3, 2, 1, 1),
        &[Data(&[2, 3, 8, 9]), Weight(&[5, 3, 3, 3]), Weight(&[5])],
        &[&[2, 5, 4, 5]],
    );
    check(
        conv(3, 1, 0, 4),
        &[Data(&[1, 4, 8, 8]), Weight(&[8, 1, 3, 3])],
        &[&[1, 8, 6, 6]],
    );
    let dilated = Conv {
        dilations: vec![2, 3],
        ..conv(3, 1, 0, 1)
    };
    check(
        dilated,
        &[Data(&[1, 1, 9, 9]), Weight(&[1, 1, 3, 3])],
        &[&[1, 1, 5, 3]],
    );
    let line = Conv {
        kernel: vec![3],
        strides: vec![1],
        pads: vec![1, 1],
        dilations: vec![1],
        group: 1,
    };
    check(
        line,
        &[Data(&[1, 1, 16]), Weight(&[1, 1, 3])],
        &[&[1, 1, 16]],
    );
    refuse(
        conv(3, 1, 1, 1),
        &[Data(&[2, 4, 8, 8]), Weight(&[5, 3, 3, 3])],
        1,
    );
    refuse(
        conv(3, 1, 1, 2),
        &[Data(&[2, 6, 8, 8]), Weight(&[5, 3, 3, 3])],
        1,
    );
    refuse(
        conv(3, 1, 0, 1),
        &[Data(&[2, 3, 2, 8]), Weight(&[5, 3, 3, 3])],
        1,
    );
    refuse(
        conv(3, 1, 1, 1),
        &[Data(&[2, 3, 8, 8]), Weight(&[5, 3, 3, 3]), Weight(&[4])],
        1,
    );
    refuse(
        conv(3, 1, 1, 1),
        &[Data(&[2, 3, 8, 8]), Weight(&[5, 3, 1, 1])],
        1,
    );
}

#[test]
fn transposed_convolutions_grow() {
    let op = ConvTranspose {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        dilations: vec![1; 2],
        group: 1,
        output_padding: vec![1; 2],
    };
    check(
        op.clone(),
        &[Data(&[2, 4, 7, 7]), Weight(&[4, 6, 3, 3]), Weight(&[6])],
        &[&[2, 6, 14, 14]],
    );
    refuse(op, &[Data(&[2, 5, 7, 7]), Weight(&[4, 6, 3, 3])], 1);
}

#[test]
fn products_of_matrices() {
    let gemm = Gemm {
        trans_b: true,
        alpha: 0.5,
        ..Gemm::default()
    };
    check(
        gemm,
        &[Data(&[2, 8]), Weight(&[5, 8]), Weight(&[5])],
        &[&[2, 5]],
    );
    check(
        Gemm {
            trans_a: true,
            ..Gemm::default()
        },
        &[Data(&[8, 2]), Weight(&[8, 5])],
        &[&[2, 5]],
    );
    refuse(gemm, &[Data(&[2, 7]), Weight(&[5, 8])], 1);
    refuse(gemm, &[Data(&[2, 8]), Weight(&[5, 8]), Weight(&[4])], 1);
    check(MatMul, &[Data(&[2, 7, 8]), Weight(&[8, 5])], &[&[2, 7, 5]]);
    check(MatMul, &[Data(&[8]), Weight(&[8, 5])], &[&[5]]);
    check(
        MatMul,
        &[Data(&[3, 1, 7, 8]), Data(&[4, 8, 5])],
        &[&[3, 4, 7, 5]],
    );
    refuse(MatMul, &[Data(&[2, 7]), Weight(&[8, 5])], 1);
}

#[test]
fn batch_normalization_needs_parameters_per_channel() {
    let norm = BatchNormalization {
        epsilon: 1e-3,
        momentum: 0.8,
    };
    let with = |c: &'static [usize]| {
        [
            Data(&[2, 3, 4, 4]),
            Weight(c),
            Weight(c),
            Weight(c),
            Weight(c),
        ]
    };
    check(norm, &with(&[3]), &[&[2, 3, 4, 4]]);
    refuse(norm, &with(&[4]), 1);
}

#[test]
fn poolings_slide_or_take_all() {
    let max = |ceil_mode| MaxPool {
        kernel: vec![3; 2],
        strides: vec![2; 2],
        pads: vec![0; 4],
        dilations: vec![1; 2],
        ceil_mode,
    };
    check(max(false), &[Data(&[1, 3, 8, 8])], &[&[1, 3, 3, 3]]);
    check(max(true), &[Data(&[1, 3, 8, 8])], &[&[1, 3, 4, 4]]);
    refuse(max(false), &[Data(&[1, 3, 2, 8])], 1);
    let average = AveragePool {
        kernel: vec![2; 2],
        strides: vec![2; 2],
        pads: vec![1; 4],
        ceil_mode: true,
        count_include_pad: true,
    };
    // A window that starts in the padding behind the image does not count.
    check(average.clone(), &[Data(&[1, 3, 5, 6])], &[&[1, 3, 3, 4]]);
    refuse(average, &[Data(&[1, 3, 5])], 1);
    check(GlobalAveragePool, &[Data(&[2, 3, 5, 6])], &[&[2, 3, 1, 1]]);
    check(GlobalMaxPool, &[Data(&[2, 3, 5])], &[&[2, 3, 1]]);
    refuse(GlobalMaxPool, &[Data(&[2])], 1);
    check(
        ReduceMean {
            axes: vec![2, -1],
            keepdims: true,
        },
        &[Data(&[2, 3, 5, 6])],
        &[&[2, 3, 1, 1]],
    );
    check(
        ReduceMean {
            axes: vec![2, -1],
            keepdims: false,
        },
        &[Data(&[2, 3, 5, 6])],
        &[&[2, 3]],
    );
    check(
        ReduceMean {
            axes: vec![],
            keepdims: false,
        },
        &[Data(&[2, 3])],
        &[&[]],
    );
    refuse(
        ReduceMean {
            axes: vec![1, 1],
            keepdims: true,
        },
        &[Data(&[2, 3])],
        1,
    );
}

#[test]
fn a_sum_loses_its_axes_or_keeps_them_with_size_one() {
    let sum = |axes: &[i64], keepdims| ReduceSum {
        axes: axes.to_vec(),
        keepdims,
    };
    check(sum(&[1, -1], true), &[Data(&[2, 3, 4])], &[&[2, 1, 1]]);
    check(sum(&[1], false), &[Data(&[2, 3, 4])], &[&[2, 4]]);
    check(sum(&[], false), &[Data(&[2, 3])], &[&[]]);
    refuse(sum(&[3], false), &[Data(&[2, 3])], 1);
}

#[test]
fn a_layer_normalisation_keeps_the_shape_and_checks_its_parameters() {
    let norm = |axis| LayerNormalization {
        axis,
        epsilon: 1e-6,
    };
    let x = Data(&[2, 5, 3, 4]);
    check(norm(-1), &[x, Weight(&[4])], &[&[2, 5, 3, 4]]);
    let x = Data(&[2, 5, 3, 4]);
    let whole = [x, Weight(&[5, 3, 4]), Weight(&[5, 3, 4])];
    check(norm(1), &whole, &[&[2, 5, 3, 4]]);
    refuse(norm(-1), &[Data(&[2, 5, 3, 4]), Weight(&[5])], 1);
    refuse(norm(4), &[Data(&[2, 5, 3, 4]), Weight(&[4])], 1);
}

#[test]
fn a_resize_scales_the_axes_after_the_channels() {
    let resize = |scales: &[f32], mode, coordinates| Resize {
        to: Extent::Scales(scales.to_vec()),
        mode,
        coordinates,
    };
    let linear = resize(&[2.0, 1.5], ResizeMode::Linear, Coordinates::HalfPixel);
    check(linear.clone(), &[Data(&[2, 3, 4, 5])], &[&[2, 3, 8, 7]]);
    refuse(linear, &[Data(&[2, 3, 4])], 1);
    for (mode, coordinates) in [
        (
            ResizeMode::Nearest(Rounding::RoundPreferCeil),
            Coordinates::AlignCorners,
        ),
        (
            ResizeMode::Nearest(Rounding::Ceil),
            Coordinates::PytorchHalfPixel,
        ),
        (ResizeMode::Cubic(-0.5), Coordinates::Asymmetric),
    ] {
        let op = resize(&[0.5], mode, coordinates);
        check(op, &[Data(&[2, 3, 9])], &[&[2, 3, 4]]);
    }
    let sizes = Resize {
        to: Extent::Sizes(vec![14, 5]),
        mode: ResizeMode::Nearest(Rounding::Floor),
        coordinates: Coordinates::Asymmetric,
    };
    check(sizes.clone(), &[Data(&[2, 3, 3, 6])], &[&[2, 3, 14, 5]]);
    refuse(sizes, &[Data(&[2, 3, 3])], 1);
    let nothing = resize(&[0.1], ResizeMode::Linear, Coordinates::HalfPixel);
    refuse(nothing, &[Data(&[2, 3, 4])], 1);
}

#[test]
fn layout_operators_move_elements() {
    check(Flatten { axis: 1 }, &[Data(&[2, 3, 4, 5])], &[&[2, 60]]);
    check(Flatten { axis: -1 }, &[Data(&[2, 3, 4, 5])], &[&[24, 5]]);
    refuse(Flatten { axis: 5 }, &[Data(&[2, 3, 4, 5])], 1);
    let reshape = |target: &[i64]| Reshape {
        target: target.to_vec(),
        allow_zero: false,
    };
    check(
        reshape(&[0, 2, -1, 5]),
        &[Data(&[2, 6, 4, 5])],
        &[&[2, 2, 12, 5]],
    );
    refuse(reshape(&[7, -1]), &[Data(&[2, 3])], 1);
    refuse(reshape(&[7]), &[Data(&[2, 3])], 1);
    refuse(reshape(&[2, 3, 0]), &[Data(&[2, 3])], 1);
    check(
        Transpose {
            perm: vec![0, 2, 1],
        },
        &[Data(&[2, 3, 4])],
        &[&[2, 4, 3]],
    );
    refuse(
        Transpose {
            perm: vec![0, 0, 1],
        },
        &[Data(&[2, 3, 4])],
        1,
    );
    check(Squeeze { axes: vec![-1] }, &[Data(&[2, 1, 1])], &[&[2, 1]]);
    refuse(Squeeze { axes: vec![0] }, &[Data(&[2, 1])], 1);
    check(
        Unsqueeze { axes: vec![0, -1] },
        &[Data(&[2, 3])],
        &[&[1, 2, 3, 1]],
    );
    refuse(Unsqueeze { axes: vec![0, 0] }, &[Data(&[2, 3])], 1);
}

#[test]
fn joining_and_cutting_operators() {
    check(
        Concat { axis: 1 },
        &[Data(&[2, 3, 4]), Data(&[2, 5, 4])],
        &[&[2, 8, 4]],
    );
    refuse(Concat { axis: 1 }, &[Data(&[2, 3, 4]), Data(&[2, 5, 5])], 1);
    check(
        Split {
            axis: 1,
            sizes: vec![2, 3],
        },
        &[Data(&[2, 5])],
        &[&[2, 2], &[2, 3]],
    );
    refuse(
        Split {
            axis: 1,
            sizes: vec![2, 2],
        },
        &[Data(&[2, 5])],
        2,
    );
    let slice = |steps: &[i64]| Slice {
        starts: vec![1],
        ends: vec![i64::MAX],
        axes: vec![1],
        steps: steps.to_vec(),
    };
    check(slice(&[2]), &[Data(&[2, 6])], &[&[2, 3]]);
    refuse(slice(&[0]), &[Data(&[2, 6])], 1);
    let pad = |mode, value| Pad {
        pads: vec![0, 1, -1, 0, 2, 0],
        mode,
        value,
    };
    check(
        pad(PadMode::Constant, 1.5),
        &[Data(&[2, 3, 4])],
        &[&[2, 6, 3]],
    );
    check(
        pad(PadMode::Constant, 0.0),
        &[Data(&[2, 3, 4])],
        &[&[2, 6, 3]],
    );
    check(pad(PadMode::Edge, 0.0), &[Data(&[2, 3, 4])], &[&[2, 6, 3]]);
    check(
        pad(PadMode::Reflect, 0.0),
        &[Data(&[2, 3, 4])],
        &[&[2, 6, 3]],
    );
    refuse(pad(PadMode::Constant, 0.0), &[Data(&[2, 3])], 1);
}

#[test]
fn an_unknown_operator_is_written_back_unchanged() {
    use onnx_graph::{Attribute, AttributeValue};
    let attributes = vec![
        Attribute {
            name: "a".into(),
            value: AttributeValue::Floats(vec![1.0, f32::NAN]),
        },
        Attribute {
            name: "b".into(),
            value: AttributeValue::Text(vec![0xff, 0]),
        },
        Attribute {
            name: "c".into(),
            value: AttributeValue::Tensor(Tensor::i64s(vec![1, 2])),
        },
        Attribute {
            name: "d".into(),
            value: AttributeValue::Texts(vec![vec![1], vec![]]),
        },
    ];
    let op = Op::from(Opaque {
        domain: "com.example".into(),
        op_type: "Strange".into(),
        overload: "twisted".into(),
        attributes,
        ..Opaque::default()
    });
    let mut graph = Graph::new("g", 17);
    let x = graph.add_input(
        "x",
        DType::F32,
        vec![Dim::Symbol("N".into()), Dim::Known(3)],
    );
    let y = graph.push("operator", op, &[x]).unwrap();
    let z = graph.push("sum", Add.into(), &[x, y]).unwrap();
    graph.add_output(z);
    let back = read(&write(&graph).unwrap(), &NoExternalData).unwrap();
    graph.same_network(&back).unwrap();
    let mut open = graph.clone();
    open.add_output(y);
    assert!(
        matches!(write(&open), Err(GraphError::Unsupported { .. })),
        "an output of unknown type cannot be written"
    );
}

#[test]
fn functions_of_single_elements_keep_the_shape() {
    let ops: Vec<Op> = vec![
        Abs {}.into(),
        Acos {}.into(),
        Acosh {}.into(),
        Asin {}.into(),
        Asinh {}.into(),
        Atan {}.into(),
        Atanh {}.into(),
        Ceil {}.into(),
        Celu { alpha: 0.5 }.into(),
        Cos {}.into(),
        Cosh {}.into(),
        Elu { alpha: 0.5 }.into(),
        Floor {}.into(),
        Log {}.into(),
        Mish {}.into(),
        Neg {}.into(),
        Reciprocal {}.into(),
        Round {}.into(),
        Selu::default().into(),
        Sign {}.into(),
        Sin {}.into(),
        Sinh {}.into(),
        Softplus {}.into(),
        Softsign {}.into(),
        Swish { alpha: 2.0 }.into(),
        Tan {}.into(),
        ThresholdedRelu { alpha: 0.1 }.into(),
    ];
    for op in ops {
        check(op, &[Data(&[2, 3, 4])], &[&[2, 3, 4]]);
    }
}

#[test]
fn extrema_broadcast() {
    check(Max, &[Data(&[2, 3, 1]), Data(&[3, 4])], &[&[2, 3, 4]]);
    check(Min, &[Data(&[2, 3]), Weight(&[3])], &[&[2, 3]]);
    refuse(Max, &[Data(&[2, 3]), Data(&[2, 4])], 1);
}

#[test]
fn reductions_drop_their_axes_or_set_them_to_one() {
    let (axes, keepdims) = (vec![2, 3], false);
    check(
        ReduceMax {
            axes: axes.clone(),
            keepdims,
        },
        &[Data(&[2, 3, 4, 5])],
        &[&[2, 3]],
    );
    check(
        ReduceMin {
            axes: axes.clone(),
            keepdims: true,
        },
        &[Data(&[2, 3, 4, 5])],
        &[&[2, 3, 1, 1]],
    );
    check(
        ReduceL1 {
            axes: vec![1],
            keepdims,
        },
        &[Data(&[2, 3, 4])],
        &[&[2, 4]],
    );
    check(
        ReduceSumSquare {
            axes: axes.clone(),
            keepdims,
        },
        &[Data(&[2, 3, 4, 5])],
        &[&[2, 3]],
    );
    check(
        ReduceLogSumExp { axes, keepdims },
        &[Data(&[2, 3, 4, 5])],
        &[&[2, 3]],
    );
}

#[test]
fn blocks_of_positions_and_channels_change_into_each_other() {
    for adjacent in [false, true] {
        let op = DepthToSpace {
            blocksize: 2,
            adjacent,
        };
        check(op, &[Data(&[1, 12, 4, 5])], &[&[1, 3, 8, 10]]);
        refuse(op, &[Data(&[1, 10, 4, 5])], 1);
    }
    let op = SpaceToDepth { blocksize: 2 };
    check(op, &[Data(&[1, 3, 8, 10])], &[&[1, 12, 4, 5]]);
    refuse(op, &[Data(&[1, 3, 7, 10])], 1);
}
