//! Operators compared with results computed by hand.

mod common;

use common::*;
use onnx_graph::Graph;
use onnx_graph::ops::*;
use torch_exec::{Device, ExecError, NormMode, Params, Program};

const ROW: &[usize] = &[1, 4];

fn conv(pads: [usize; 4]) -> Conv {
    Conv {
        kernel: vec![2, 2],
        strides: vec![1, 1],
        pads: pads.to_vec(),
        dilations: vec![1, 1],
        group: 1,
    }
}

#[test]
fn convolutions_add_up_their_windows() {
    let ones: Data = (&[1, 1, 2, 2], &[1.; 4]);
    check(
        Op::Conv(conv([0; 4])),
        &[(IMAGE, NINE), ones, (&[1], &[0.5])],
        (&[1, 1, 2, 2], &[12.5, 16.5, 24.5, 28.5]),
    );
    let padded = [12., 16., 9., 24., 28., 15., 15., 17., 9.];
    check(
        Op::Conv(conv([0, 0, 1, 1])),
        &[(IMAGE, NINE), ones],
        (IMAGE, &padded),
    );
    let strided = Conv {
        strides: vec![2, 2],
        ..conv([1; 4])
    };
    check(
        Op::Conv(strided),
        &[(IMAGE, NINE), ones],
        (&[1, 1, 2, 2], &[1., 5., 11., 28.]),
    );
    let dilated = Conv {
        dilations: vec![2, 2],
        ..conv([0; 4])
    };
    check(
        Op::Conv(dilated),
        &[(IMAGE, NINE), ones],
        (&[1, 1, 1, 1], &[20.]),
    );
    let point = Conv {
        kernel: vec![1, 1],
        group: 2,
        ..conv([0; 4])
    };
    check(
        Op::Conv(point),
        &[(&[1, 2, 1, 1], &[3., 4.]), (&[2, 1, 1, 1], &[10., 100.])],
        (&[1, 2, 1, 1], &[30., 400.]),
    );
    let line = Conv {
        kernel: vec![2],
        strides: vec![1],
        pads: vec![0, 0],
        dilations: vec![1],
        group: 1,
    };
    check(
        Op::Conv(line),
        &[(&[1, 1, 3], &[1., 2., 3.]), (&[1, 1, 2], &[1., -1.])],
        (&[1, 1, 2], &[-1., -1.]),
    );
}

#[test]
fn transposed_convolutions_spread_their_windows() {
    let op = ConvTranspose {
        kernel: vec![2, 2],
        strides: vec![2, 2],
        pads: vec![0; 4],
        dilations: vec![1, 1],
        group: 1,
        output_padding: vec![0, 0],
    };
    let x: Data = (&[1, 1, 1, 2], &[1., 2.]);
    let w: Data = (&[1, 1, 2, 2], &[1., 2., 3., 4.]);
    check(
        Op::ConvTranspose(op.clone()),
        &[x, w],
        (&[1, 1, 2, 4], &[1., 2., 2., 4., 3., 4., 6., 8.]),
    );
    let cut = ConvTranspose {
        pads: vec![0, 1, 1, 0],
        ..op
    };
    check(
        Op::ConvTranspose(cut),
        &[x, w],
        (&[1, 1, 1, 3], &[2., 2., 4.]),
    );
}

#[test]
fn matrix_products_follow_their_attributes() {
    let gemm = |alpha, beta, trans_a, trans_b| {
        Op::Gemm(Gemm {
            alpha,
            beta,
            trans_a,
            trans_b,
        })
    };
    let x: Data = (&[1, 2], &[1., 2.]);
    let w: Data = (&[2, 2], &[1., 2., 3., 4.]);
    check(
        gemm(1., 1., false, true),
        &[x, w, (&[2], &[10., 20.])],
        (&[1, 2], &[15., 31.]),
    );
    check(gemm(1., 1., false, false), &[x, w], (&[1, 2], &[7., 10.]));
    check(
        gemm(2., 0.5, false, false),
        &[x, w, (&[1, 2], &[2., 4.])],
        (&[1, 2], &[15., 22.]),
    );
    check(
        gemm(1., 1., true, false),
        &[(&[2, 1], &[1., 2.]), w],
        (&[1, 2], &[7., 10.]),
    );
    check(
        Op::MatMul(MatMul),
        &[(&[1, 1, 2], &[1., 2.]), w],
        (&[1, 1, 2], &[7., 10.]),
    );
}

#[test]
fn batch_normalization_uses_the_stored_statistics() {
    let op = Op::BatchNormalization(BatchNormalization {
        epsilon: 0.0,
        momentum: 0.9,
    });
    let [scale, bias, mean, var]: [Data; 4] = [
        (&[2], &[2., 1.]),
        (&[2], &[1., 0.]),
        (&[2], &[1., 2.]),
        (&[2], &[4., 1.]),
    ];
    check(
        op,
        &[(&[1, 2, 1, 1], &[3., 5.]), scale, bias, mean, var],
        (&[1, 2, 1, 1], &[3., 3.]),
    );
}

#[test]
fn activations_map_each_element() {
    let x: Data = (ROW, &[-2., -0.5, 0.5, 8.]);
    let each = |op: Op, f: fn(f32) -> f32| {
        let expected: Vec<f32> = x.1.iter().map(|&v| f(v)).collect();
        check(op, &[x], (ROW, &expected));
    };
    each(Op::Relu(Relu), |v| v.max(0.));
    each(Op::LeakyRelu(LeakyRelu { alpha: 0.01 }), |v| {
        if v < 0. { 0.01 * v } else { v }
    });
    each(Op::LeakyRelu(LeakyRelu { alpha: 0.2 }), |v| {
        if v < 0. { 0.2 * v } else { v }
    });
    each(
        Op::Clip(Clip {
            min: Some(0.),
            max: Some(6.),
        }),
        |v| v.clamp(0., 6.),
    );
    each(
        Op::Clip(Clip {
            min: Some(0.),
            max: None,
        }),
        |v| v.max(0.),
    );
    each(
        Op::Clip(Clip {
            min: Some(-1.),
            max: Some(1.),
        }),
        |v| v.clamp(-1., 1.),
    );
    each(
        Op::Clip(Clip {
            min: Some(-1.),
            max: None,
        }),
        |v| v.max(-1.),
    );
    each(
        Op::Clip(Clip {
            min: None,
            max: Some(1.),
        }),
        |v| v.min(1.),
    );
    each(
        Op::Clip(Clip {
            min: None,
            max: None,
        }),
        |v| v,
    );
    each(Op::Sigmoid(Sigmoid), |v| 1. / (1. + (-v).exp()));
    each(
        Op::HardSigmoid(HardSigmoid {
            alpha: 1. / 6.,
            beta: 0.5,
        }),
        |v| (v / 6. + 0.5).clamp(0., 1.),
    );
    each(
        Op::HardSigmoid(HardSigmoid {
            alpha: 0.2,
            beta: 0.5,
        }),
        |v| (0.2 * v + 0.5).clamp(0., 1.),
    );
    each(Op::HardSwish(HardSwish), |v| {
        v * (v / 6. + 0.5).clamp(0., 1.)
    });
    each(Op::Tanh(Tanh), f32::tanh);
    each(Op::Exp(Exp), f32::exp);
    each(Op::Identity(Identity), |v| v);
    each(Op::Dropout(Dropout), |v| v);
    check(
        Op::Erf(Erf),
        &[(&[1, 2], &[0.5, -1.])],
        (&[1, 2], &[0.520_499_9, -0.842_700_8]),
    );
    check(
        Op::Gelu(Gelu { tanh: false }),
        &[(&[1, 2], &[1., -1.])],
        (&[1, 2], &[0.841_344_7, -0.158_655_3]),
    );
    check(
        Op::Gelu(Gelu { tanh: true }),
        &[(&[1, 1], &[1.])],
        (&[1, 1], &[0.841_192]),
    );
    check(
        Op::Sqrt(Sqrt),
        &[(&[1, 2], &[4., 9.])],
        (&[1, 2], &[2., 3.]),
    );
}

#[test]
fn a_slope_is_shared_or_per_channel() {
    let x: Data = (&[1, 2, 1, 2], &[-1., 1., -2., 2.]);
    check(
        Op::PRelu(PRelu),
        &[x, (&[1], &[0.5])],
        (x.0, &[-0.5, 1., -1., 2.]),
    );
    check(
        Op::PRelu(PRelu),
        &[x, (&[2, 1, 1], &[0.5, 2.])],
        (x.0, &[-0.5, 1., -4., 2.]),
    );
    check(
        Op::PRelu(PRelu),
        &[x, (&[1, 1, 2], &[0.5, 2.])],
        (x.0, &[-0.5, 1., -1., 2.]),
    );
}

#[test]
fn softmax_runs_along_its_axis() {
    let x: Data = (&[1, 2], &[0., 3f32.ln()]);
    check(
        Op::Softmax(Softmax { axis: -1 }),
        &[x],
        (&[1, 2], &[0.25, 0.75]),
    );
    check(
        Op::LogSoftmax(LogSoftmax { axis: 1 }),
        &[x],
        (&[1, 2], &[0.25f32.ln(), 0.75f32.ln()]),
    );
}

#[test]
fn arithmetic_broadcasts() {
    let x: Data = (&[1, 2, 1, 2], &[1., 2., 3., 4.]);
    let c: Data = (&[2, 1, 1], &[2., 4.]);
    check(Op::Add(Add), &[x, c], (x.0, &[3., 4., 7., 8.]));
    check(Op::Sub(Sub), &[x, c], (x.0, &[-1., 0., -1., 0.]));
    check(Op::Mul(Mul), &[x, c], (x.0, &[2., 4., 12., 16.]));
    check(Op::Div(Div), &[x, c], (x.0, &[0.5, 1., 0.75, 1.]));
}

#[test]
fn pools_honour_pads_and_ceil_mode() {
    let max = |kernel: usize, stride: usize, pads: [usize; 4], ceil_mode| {
        let (kernel, strides) = (vec![kernel; 2], vec![stride; 2]);
        Op::MaxPool(MaxPool {
            kernel,
            strides,
            pads: pads.to_vec(),
            dilations: vec![1, 1],
            ceil_mode,
        })
    };
    let two: &[usize] = &[1, 1, 2, 2];
    check(
        max(2, 1, [0; 4], false),
        &[(IMAGE, NINE)],
        (two, &[5., 6., 8., 9.]),
    );
    check(
        max(2, 2, [0; 4], false),
        &[(IMAGE, NINE)],
        (&[1, 1, 1, 1], &[5.]),
    );
    check(
        max(2, 2, [0; 4], true),
        &[(IMAGE, NINE)],
        (two, &[5., 6., 8., 9.]),
    );
    check(
        max(2, 2, [1, 1, 0, 0], false),
        &[(IMAGE, NINE)],
        (two, &[1., 3., 7., 9.]),
    );
    let negative: Vec<f32> = NINE.iter().map(|v| -v).collect();
    check(
        max(2, 2, [1, 1, 0, 0], false),
        &[(IMAGE, &negative)],
        (two, &[-1., -2., -4., -5.]),
    );
    let average = |pads: [usize; 4], count_include_pad| {
        let (kernel, strides) = (vec![2; 2], vec![2; 2]);
        Op::AveragePool(AveragePool {
            kernel,
            strides,
            pads: pads.to_vec(),
            ceil_mode: false,
            count_include_pad,
        })
    };
    check(
        average([0; 4], false),
        &[(IMAGE, NINE)],
        (&[1, 1, 1, 1], &[3.]),
    );
    check(
        average([1; 4], false),
        &[(IMAGE, NINE)],
        (two, &[1., 2.5, 5.5, 7.]),
    );
    check(
        average([1; 4], true),
        &[(IMAGE, NINE)],
        (two, &[0.25, 1.25, 2.75, 7.]),
    );
    check(
        average([0, 0, 1, 1], false),
        &[(IMAGE, NINE)],
        (two, &[3., 4.5, 7.5, 9.]),
    );
    check(
        average([0, 0, 1, 1], true),
        &[(IMAGE, NINE)],
        (two, &[3., 2.25, 3.75, 2.25]),
    );
    check(
        Op::GlobalAveragePool(GlobalAveragePool),
        &[(IMAGE, NINE)],
        (&[1, 1, 1, 1], &[5.]),
    );
    check(
        Op::GlobalMaxPool(GlobalMaxPool),
        &[(IMAGE, NINE)],
        (&[1, 1, 1, 1], &[9.]),
    );
    check(
        Op::ReduceMean(ReduceMean {
            axes: vec![-1],
            keepdims: true,
        }),
        &[(IMAGE, NINE)],
        (&[1, 1, 3, 1], &[2., 5., 8.]),
    );
    check(
        Op::ReduceMean(ReduceMean {
            axes: vec![2, 3],
            keepdims: false,
        }),
        &[(IMAGE, NINE)],
        (&[1, 1], &[5.]),
    );
}

#[test]
fn a_layer_is_normalised_over_its_last_axes() {
    let rows: Data = (&[2, 2], &[1., 3., -2., 2.]);
    let norm = |axis| Op::LayerNormalization(LayerNormalization { axis, epsilon: 0.0 });
    let (scale, bias): (Data, Data) = ((&[2], &[1., 10.]), (&[2], &[0., 1.]));
    check(
        norm(-1),
        &[rows, scale, bias],
        (&[2, 2], &[-1., 11., -1., 11.]),
    );
    check(norm(1), &[rows, scale], (&[2, 2], &[-1., 10., -1., 10.]));
    let one: Data = (&[1], &[2.]);
    // Mean 1, variance 3.5.
    let spread = 3.5f32.sqrt();
    let expected = [0., 4. / spread, -6. / spread, 2. / spread];
    check(norm(0), &[rows, one], (&[2, 2], &expected));
}

#[test]
fn images_are_resized_as_the_specification_says() {
    let pair: Data = (&[1, 1, 1, 2], &[1., 3.]);
    let resize = |mode, coordinates| {
        Op::Resize(Resize {
            to: Extent::Scales(vec![1.0, 2.0]),
            mode,
            coordinates,
        })
    };
    for (mode, coordinates, expected) in [
        (
            ResizeMode::Nearest(Rounding::Floor),
            Coordinates::Asymmetric,
            [1., 1., 3., 3.],
        ),
        (
            ResizeMode::Linear,
            Coordinates::HalfPixel,
            [1., 1.5, 2.5, 3.],
        ),
        (
            ResizeMode::Linear,
            Coordinates::AlignCorners,
            [1., 5. / 3., 7. / 3., 3.],
        ),
    ] {
        let out: Data = (&[1, 1, 1, 4], &expected);
        check(resize(mode, coordinates), &[pair], out);
    }
    // Three positions by 1.5 are four: position i lies at (i + 0.5) / 1.5 - 0.5, not at (i + 0.5)
    // * 3 / 4 - 0.5.
    let fraction = Op::Resize(Resize {
        to: Extent::Scales(vec![1.0, 1.5]),
        mode: ResizeMode::Linear,
        coordinates: Coordinates::HalfPixel,
    });
    let three: Data = (&[1, 1, 1, 3], &[0., 3., 6.]);
    check(fraction, &[three], (&[1, 1, 1, 4], &[0., 1.5, 3.5, 5.5]));
}

#[test]
fn sums_run_over_the_given_axes_or_all() {
    let sum = |axes: &[i64], keepdims| {
        Op::ReduceSum(ReduceSum {
            axes: axes.to_vec(),
            keepdims,
        })
    };
    check(
        sum(&[-1], true),
        &[(IMAGE, NINE)],
        (&[1, 1, 3, 1], &[6., 15., 24.]),
    );
    check(
        sum(&[1, 2], false),
        &[(IMAGE, NINE)],
        (&[1, 3], &[12., 15., 18.]),
    );
    check(sum(&[], false), &[(IMAGE, NINE)], (&[], &[45.]));
}

#[test]
fn shapes_are_rearranged_in_row_major_order() {
    let x: Data = (&[1, 2, 3], &[1., 2., 3., 4., 5., 6.]);
    check(Op::Flatten(Flatten { axis: 1 }), &[x], (&[1, 6], x.1));
    check(Op::Flatten(Flatten { axis: -1 }), &[x], (&[2, 3], x.1));
    check(Op::Flatten(Flatten { axis: 0 }), &[x], (&[1, 6], x.1));
    let reshape = |target: &[i64]| {
        Op::Reshape(Reshape {
            target: target.to_vec(),
            allow_zero: false,
        })
    };
    check(reshape(&[0, 3, -1]), &[x], (&[1, 3, 2], x.1));
    check(
        Op::Transpose(Transpose {
            perm: vec![0, 2, 1],
        }),
        &[x],
        (&[1, 3, 2], &[1., 4., 2., 5., 3., 6.]),
    );
    check(Op::Squeeze(Squeeze { axes: vec![0] }), &[x], (&[2, 3], x.1));
    check(
        Op::Unsqueeze(Unsqueeze { axes: vec![-1, 1] }),
        &[x],
        (&[1, 1, 2, 3, 1], x.1),
    );
    check(
        Op::Concat(Concat { axis: 1 }),
        &[x, (&[1, 1, 3], &[7., 8., 9.])],
        (&[1, 3, 3], NINE),
    );
}

#[test]
fn slices_follow_start_end_and_step() {
    let x: Data = (ROW, &[1., 2., 3., 4.]);
    let slice = |start: i64, end: i64, step: i64| {
        Op::Slice(Slice {
            starts: vec![start],
            ends: vec![end],
            axes: vec![1],
            steps: vec![step],
        })
    };
    check(slice(1, 3, 1), &[x], (&[1, 2], &[2., 3.]));
    check(slice(0, i64::MAX, 2), &[x], (&[1, 2], &[1., 3.]));
    check(slice(-2, i64::MAX, 1), &[x], (&[1, 2], &[3., 4.]));
    check(slice(-1, i64::MIN, -1), &[x], (ROW, &[4., 3., 2., 1.]));
    check(slice(2, 0, -1), &[x], (&[1, 2], &[3., 2.]));
}

#[test]
fn pads_surround_the_input() {
    let x: Data = (&[1, 1, 1, 3], &[1., 2., 3.]);
    let pad = |pads: &[i64], mode, value| {
        Op::Pad(Pad {
            pads: pads.to_vec(),
            mode,
            value,
        })
    };
    let right = [0, 0, 0, 1, 0, 0, 0, 2];
    check(
        pad(&right, PadMode::Constant, 9.),
        &[x],
        (&[1, 1, 1, 6], &[9., 1., 2., 3., 9., 9.]),
    );
    check(
        pad(&right, PadMode::Reflect, 0.),
        &[x],
        (&[1, 1, 1, 6], &[2., 1., 2., 3., 2., 1.]),
    );
    check(
        pad(&right, PadMode::Edge, 0.),
        &[x],
        (&[1, 1, 1, 6], &[1., 1., 2., 3., 3., 3.]),
    );
    let channels = [0, 1, 0, 0, 0, 0, 0, 0];
    check(
        pad(&channels, PadMode::Constant, 0.),
        &[x],
        (&[1, 2, 1, 3], &[0., 0., 0., 1., 2., 3.]),
    );
}

#[test]
fn the_parts_of_a_split_are_independent_values() {
    let mut graph = Graph::new("split", 17);
    let x = input(&mut graph, &[1, 3, 1, 1]);
    let split = Op::Split(Split {
        axis: 1,
        sizes: vec![1, 2],
    });
    let parts = graph
        .push_node("split", split, vec![Some(x)], &[Some("a"), Some("b")])
        .unwrap();
    let relu = graph
        .push("relu", Op::Relu(Relu), &[parts[1].unwrap()])
        .unwrap();
    let out = graph
        .push(
            "cat",
            Op::Concat(Concat { axis: 1 }),
            &[relu, parts[0].unwrap(), parts[1].unwrap()],
        )
        .unwrap();
    graph.add_output(out);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let got = program
        .forward(
            &tensor(&[1, 3, 1, 1], &[-1., -2., 3.]),
            &params,
            None,
            NormMode::Running,
        )
        .unwrap();
    same(&got, &[1, 5, 1, 1], &[0., 3., -1., -2., 3.], "split");
}

#[test]
fn a_reshape_exported_for_one_image_follows_the_batch() {
    let mut graph = Graph::new("static", 17);
    let x = input(&mut graph, &[1, 4]);
    let op = Op::Reshape(Reshape {
        target: vec![1, 2, 2],
        allow_zero: false,
    });
    let y = graph.push("reshape", op, &[x]).unwrap();
    graph.add_output(y);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let got = program
        .forward(
            &tensor(&[3, 4], &[0.; 12]),
            &params,
            None,
            NormMode::Running,
        )
        .unwrap();
    assert_eq!(got.size(), [3, 2, 2]);
}

#[test]
fn an_unknown_operator_is_refused_by_name_at_compile_time() {
    let mut graph = Graph::new("opaque", 17);
    let x = input(&mut graph, &[1, 4]);
    let op = Op::Opaque(Opaque {
        op_type: "Mystery".into(),
        ..Opaque::default()
    });
    let y = graph.push("unknown", op, &[x]).unwrap();
    graph.add_output(y);
    assert!(matches!(
        Program::compile(&graph),
        Err(ExecError::Unsupported { node, op }) if node == "unknown" && op == "Mystery"
    ));
}

#[test]
fn an_input_of_another_shape_is_an_error_that_names_the_node() {
    let mut graph = Graph::new("one", 17);
    let x = input(&mut graph, &[1, 1, 3, 3]);
    let w = graph.add_constant(
        "w",
        onnx_graph::Tensor::f32([1, 1, 2, 2], vec![1.; 4]).unwrap(),
    );
    let y = graph
        .push("first_conv", Op::Conv(conv([0; 4])), &[x, w])
        .unwrap();
    graph.add_output(y);
    let program = Program::compile(&graph).unwrap();
    let params = Params::from_graph(&graph, Device::Cpu).unwrap();
    let two_channels = tensor(&[1, 2, 3, 3], &[0.; 18]);
    assert!(matches!(
        program.forward(&two_channels, &params, None, NormMode::Running),
        Err(ExecError::Torch { node, .. }) if node == "first_conv"
    ));
}
